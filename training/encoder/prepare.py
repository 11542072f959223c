"""From observed lengths to an untrained network and everything it is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.calibration import GroupedCalibration
from predictor.distribution import log_edges
from predictor.encoder.backbone import load_backbone
from predictor.encoder.inputs import SETTINGS, Scaling, padded, settings
from predictor.encoder.network import HeadShape, LengthNetwork
from predictor.encoder.predictor import EncoderPredictor
from predictor.encoder.window import Window
from predictor.features import feature_names
from predictor.prompt import Prompt
from training.encoder.batches import TrainingData
from training.encoder.config import EncoderConfig
from training.encoder.loop import Parts, Progress, device_of, precision
from training.encoder.targets import targets
from training.lengths import LengthRows, joined

Ints = NDArray[np.int64]
Halves = NDArray[np.float16]

_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An untrained predictor, the data it will learn from, and which prompts do what."""

    predictor: EncoderPredictor
    data: TrainingData
    parts: Parts


def prepare(
    rows: LengthRows, extra: LengthRows | None, config: EncoderConfig, progress: Progress
) -> Prepared:
    """``rows`` train and validate by their split; of ``extra`` the training side is drawn from."""
    both = rows if extra is None else joined(rows, extra)
    train, validation = _prompts_of(rows, "train"), _prompts_of(rows, "validation")
    drawn = _prompts_of(both, "train")
    drawn = drawn[drawn >= len(rows.prompts)]
    drawn = np.random.default_rng(config.seed).permutation(drawn)[: config.extra_prompts]
    predictor = _untrained(both, train, config)
    return Prepared(
        predictor=predictor,
        data=_data(both, predictor, np.concatenate((train, drawn, validation)), config, progress),
        parts=Parts(train, drawn, validation),
    )


def _prompts_of(rows: LengthRows, split: str) -> Ints:
    used = np.unique(rows.prompt_of)
    return np.array([p for p in used if rows.prompts[p].split == split], dtype=np.int64)


def _untrained(rows: LengthRows, train: Ints, config: EncoderConfig) -> EncoderPredictor:
    torch.manual_seed(config.seed)
    backbone = load_backbone(config.backbone)
    edges = log_edges(config.longest, config.bins)
    shape = HeadShape(
        encoder_width=int(backbone.module.config.hidden_size),
        features=len(feature_names()),
        settings=SETTINGS,
        llms=len(rows.llms),
        bins=len(edges) - 1,
        hidden=config.hidden,
        llm_width=config.llm_width,
        dropout=config.dropout,
    )
    return EncoderPredictor(
        network=LengthNetwork(backbone.module, shape),
        backbone_config=backbone.config,
        window=Window(backbone.tokenizer, config.head_tokens, config.tail_tokens),
        scaling=Scaling.fit([Prompt(rows.prompts[p].text) for p in train]),
        edges=edges,
        llms=rows.llms,
        calibration=GroupedCalibration.identity(),
    )


def _data(
    rows: LengthRows,
    predictor: EncoderPredictor,
    used: Ints,
    config: EncoderConfig,
    progress: Progress,
) -> TrainingData:
    texts = [rows.prompts[p].text for p in used]
    features = np.zeros((len(rows.prompts), len(feature_names())), dtype=np.float32)
    features[used] = predictor.scaling.features([Prompt(text) for text in texts])
    tokens: list[Ints] = [np.zeros(0, dtype=np.int64)] * len(rows.prompts)
    for place, some in zip(used, predictor.window.tokens(texts), strict=True):
        tokens[place] = some
    return TrainingData(
        tokens=tokens,
        states=_lower_states(predictor.network, tokens, used, config, progress),
        features=features,
        rows=rows_of_prompts(rows),
        llm=rows.llm_of,
        settings=settings([Prompt("", temperature=_told(t)) for t in rows.temperatures]),
        targets=targets(rows, predictor.edges),
    )


def _lower_states(
    network: LengthNetwork,
    tokens: Sequence[Ints],
    used: Ints,
    config: EncoderConfig,
    progress: Progress,
) -> list[Halves] | None:
    """What the frozen layers make of each prompt; nothing where they cannot run apart."""
    if not config.frozen_layers or config.train_embeddings or not network.can_split:
        return None
    torch.set_num_threads(config.threads)
    device = device_of(config)
    network.to(device).eval()
    states = [np.zeros((0, 0), dtype=np.float16)] * len(tokens)
    order = used[np.argsort([len(tokens[p]) for p in used], kind="stable")]
    for start in range(0, len(order), _BATCH):
        progress("lower layers", start / len(order))
        some = order[start : start + _BATCH]
        ids, mask = (torch.from_numpy(a).to(device) for a in padded([tokens[p] for p in some]))
        with torch.inference_mode(), precision(config, device):
            lower = network.lower(ids, mask, config.frozen_layers).half().cpu().numpy()
        for row, p in enumerate(some):
            states[p] = lower[row, : len(tokens[p])].copy()
    return states


def rows_of_prompts(rows: LengthRows) -> Sequence[Ints]:
    """For each prompt the numbers of its rows."""
    order = np.argsort(rows.prompt_of, kind="stable")
    bounds = np.searchsorted(rows.prompt_of[order], np.arange(1, len(rows.prompts)))
    return np.split(order, bounds)


def _told(temperature: float) -> float | None:
    return None if np.isnan(temperature) else float(temperature)
