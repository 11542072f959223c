"""Trains the fast path: word scores by ridge regression, then a hazard head on them."""

from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from predictor.calibration import GroupedCalibration
from predictor.conditioned import Parts
from predictor.distribution import log_edges
from predictor.encoder.network import HazardHead, HeadShape
from predictor.errors import DatasetError, TrainingError
from predictor.fast import FastPredictor
from predictor.features import feature_names, ngram_buckets
from predictor.hazard import HazardHead as StoredHead
from predictor.prompt import Prompt
from predictor.scaling import SETTINGS, Scaling, settings
from training.encoder.loop import Progress
from training.encoder.loss import label_of, likelihood, ranked_probability
from training.encoder.prepare import rows_of_prompts
from training.encoder.targets import targets
from training.fast.config import FastConfig
from training.fast.words import wanted_scores, word_scores
from training.lengths import LengthRows

Ints = NDArray[np.int64]
MIN_ROWS = 50


def fit_fast(rows: LengthRows, config: FastConfig, progress: Progress) -> FastPredictor:
    """Train on the training side of ``rows``, calibrate on its validation side."""
    train = rows.of_split("train")
    if len(train) < MIN_ROWS:
        raise DatasetError(
            f"{len(train)} rows of training prompts: give at least {MIN_ROWS}, "
            "or use the history predictor"
        )
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run = _Run(train, config)
    for epoch in range(config.epochs):
        progress("fast path", epoch / config.epochs)
        run.epoch(epoch)
    progress("fast path", 1.0)
    predictor = run.predictor()
    held_out = rows.of_split("validation")
    if not len(held_out):
        return predictor
    return predictor.calibrated(held_out.requests(), np.where(held_out.seen, held_out.samples, 0))


class _Run:
    """Everything that changes while training."""

    def __init__(self, rows: LengthRows, config: FastConfig) -> None:
        self.config, self.rows = config, rows
        self.edges = log_edges(config.longest, config.bins)
        used = np.unique(rows.prompt_of)
        prompts = [Prompt(rows.prompts[p].text) for p in used]
        self.used, self.place = used, {int(p): i for i, p in enumerate(used)}
        self.scaling = Scaling.fit(prompts)
        self.features = torch.from_numpy(self.scaling.features(prompts))
        self.row_groups = rows_of_prompts(rows)
        self.how = torch.from_numpy(settings(_requests(rows)))
        self.llm = torch.from_numpy(rows.llm_of)
        self.label = label_of(targets(rows, self.edges))
        wanted = wanted_scores(rows, used)
        self.table, scores = word_scores(
            ngram_buckets(prompts, config.table_rows),
            wanted,
            size=config.table_rows,
            penalty=config.penalty,
            seed=config.seed,
        )
        self.scores = torch.from_numpy(scores.astype(np.float32))
        shape = HeadShape(
            text_width=scores.shape[1],
            features=len(feature_names()),
            settings=SETTINGS,
            llms=len(rows.llms),
            bins=len(self.edges) - 1,
            hidden=config.hidden,
            llm_width=config.llm_width,
            dropout=config.dropout,
        )
        self.head = HazardHead(shape)
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(), lr=config.rate, weight_decay=config.weight_decay
        )

    def epoch(self, number: int) -> None:
        """One pass."""
        rng = np.random.default_rng((self.config.seed, number))
        rate = self.config.rate * 0.5 * (1.0 + np.cos(np.pi * number / self.config.epochs))
        self.optimizer.param_groups[0]["lr"] = float(rate)
        order = rng.permutation(self.used)
        self.head.train()
        for start in range(0, len(order), self.config.prompts_per_batch):
            self._step(order[start : start + self.config.prompts_per_batch])

    def predictor(self) -> FastPredictor:
        """What the present weights predict, uncalibrated."""
        head = {k: v.detach().numpy() for k, v in self.head.state_dict().items()}
        parts = Parts(
            head=StoredHead.of(head),
            scaling=self.scaling,
            edges=self.edges,
            llms=self.rows.llms,
            calibration=GroupedCalibration.identity(),
        )
        return FastPredictor(parts, table=self.table.astype(np.float16))

    def _step(self, prompts: Ints) -> None:
        rows = np.concatenate([self.row_groups[p] for p in prompts])
        sizes = [len(self.row_groups[p]) for p in prompts]
        places = [self.place[int(p)] for p in prompts]
        encoded = self.head.prompt(self.scores[places], self.features[places])
        of = torch.from_numpy(np.repeat(np.arange(len(prompts)), sizes))
        index = torch.from_numpy(rows)
        logits = self.head(encoded[of], self.head.llm(self.llm[index]), self.how[index])
        label = self.label.rows(index)
        crps = ranked_probability(logits, label)
        loss = likelihood(logits, label) + self.config.crps_weight * crps
        if not isfinite(loss.item()):
            raise TrainingError("the fast path's loss is no number: lower its rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimizer.step()


def _requests(rows: LengthRows) -> list[Prompt]:
    return [Prompt("", temperature=None if np.isnan(t) else float(t)) for t in rows.temperatures]
