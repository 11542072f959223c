"""Fine-tunes the network: a plain loop that can be stopped after any step and taken up again."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import cos, inf, isfinite, pi
from time import monotonic, perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from predictor.encoder.network import LengthNetwork
from predictor.errors import TrainingError
from training.encoder.batches import Batch, TrainingData, batch_of, in_order, shuffled
from training.encoder.checkpoint import Checkpoint, Checkpoints
from training.encoder.config import EncoderConfig
from training.encoder.loss import likelihood, ranked_probability

Ints = NDArray[np.int64]
Progress = Callable[[str, float], None]

_CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the data brought; losses are means over its batches."""

    epoch: int
    loss: float
    train_crps_gap: float
    validation_nll: float
    validation_crps_gap: float
    seconds: float


@dataclass(frozen=True, slots=True)
class PromptParts:
    """Numbers of the prompts that train in every epoch, that are drawn from, and that judge."""

    train: Ints
    extra: Ints
    validation: Ints


def fine_tune(
    network: LengthNetwork,
    data: TrainingData,
    parts: PromptParts,
    config: EncoderConfig,
    *,
    checkpoints: Checkpoints,
    progress: Progress,
    on_epoch: Callable[[Epoch], None],
) -> list[Epoch]:
    """Train in place; afterwards the network holds the averaged weights of its best epoch.

    The best is the one with the least CRPS on the validation prompts; the run ends early once
    ``patience`` epochs have brought nothing better.
    Raises ``TrainingError`` when the loss is no longer a number; the checkpoints stay.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    device = device_of(config)
    network.to(device)
    run = _Run(network, data, parts, config, device)
    history = run.resume(checkpoints)
    for epoch in range(len(history), config.epochs):
        if run.out_of_time or _overfits(history, config.patience):
            break
        report = run.epoch(epoch, history, progress, checkpoints)
        run.keep_best(report, history)
        history.append(report)
        checkpoints.save(run.state(epoch + 1, 0, history))
        on_epoch(report)
    run.use_best()
    return history


def _overfits(history: Sequence[Epoch], patience: int) -> bool:
    """Whether the latest epochs have brought nothing."""
    gaps = [entry.validation_crps_gap for entry in history]
    return len(gaps) > patience and min(gaps[-patience:]) > min(gaps[:-patience])


def device_of(config: EncoderConfig) -> str:
    """The device that ``auto`` stands for."""
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


class _Run:
    """Everything that changes while training."""

    def __init__(
        self,
        network: LengthNetwork,
        data: TrainingData,
        parts: PromptParts,
        config: EncoderConfig,
        device: str,
    ) -> None:
        self.network, self.data, self.parts, self.config = network, data, parts, config
        self.device = device
        self.optimizer = _optimizer(network, config)
        self.trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.trained.items()}
        self.best: dict[str, torch.Tensor] = {}
        self.steps_done = 0
        self.sums = (0.0, 0.0)
        self.epoch_steps = 0
        self._first_batch = 0
        self._earlier_s, self._started_s = 0.0, monotonic()

    @property
    def spent_s(self) -> float:
        """Time this run has trained for, before it was taken up too."""
        return self._earlier_s + monotonic() - self._started_s

    @property
    def out_of_time(self) -> bool:
        """Whether the budget is used up."""
        budget = self.config.budget_minutes
        return budget is not None and self.spent_s >= 60.0 * budget

    def resume(self, checkpoints: Checkpoints) -> list[Epoch]:
        """Take up the newest checkpoint, if there is one; the epochs it has behind it."""
        if (found := checkpoints.newest()) is None:
            return []
        for name, parameter in self.trained.items():
            with torch.no_grad():
                parameter.copy_(found.tensors[f"now.{name}"])
                self.average[name].copy_(found.tensors[f"average.{name}"])
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(found.steps)),
                "exp_avg": found.tensors[f"first.{name}"].to(self.device),
                "exp_avg_sq": found.tensors[f"second.{name}"].to(self.device),
            }
        self.best = _under("best.", found.tensors, self.device)
        self.steps_done, self.sums = found.steps, (found.loss_sum, found.crps_sum)
        self._first_batch = self.epoch_steps = found.batch
        self._earlier_s = found.spent_s
        return [Epoch(**entry) for entry in found.history]

    def state(self, epoch: int, batch: int, history: Sequence[Epoch]) -> Checkpoint:
        """A checkpoint of this moment."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self.trained.items():
            moments = self.optimizer.state[parameter]
            tensors[f"now.{name}"] = parameter.detach()
            tensors[f"average.{name}"] = self.average[name]
            tensors[f"first.{name}"] = moments["exp_avg"]
            tensors[f"second.{name}"] = moments["exp_avg_sq"]
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        return Checkpoint(
            tensors=tensors,
            epoch=epoch,
            batch=batch,
            steps=self.steps_done,
            spent_s=self.spent_s,
            loss_sum=self.sums[0],
            crps_sum=self.sums[1],
            history=[asdict(entry) for entry in history],
        )

    def epoch(
        self, epoch: int, history: Sequence[Epoch], progress: Progress, checkpoints: Checkpoints
    ) -> Epoch:
        """One pass over the training prompts, and the averaged weights judged on validation."""
        started = perf_counter()
        batches = self._batches(epoch)
        first, self._first_batch = self._first_batch, 0
        for number in range(first, len(batches)):
            if self.out_of_time:
                break
            share = self._share(len(batches))
            progress(f"epoch {epoch + 1} of {self.config.epochs}", share)
            self._step(batch_of(self.data, batches[number], self.device), share)
            if checkpoints.due():
                checkpoints.save(self.state(epoch, number + 1, history))
        loss, crps = self.sums
        nll, gap = self._validated()
        if not isfinite(gap):
            raise TrainingError(
                f"the CRPS on the validation prompts became {gap} in epoch {epoch + 1}: lower "
                "encoder_rate and head_rate, or take up an earlier checkpoint; nothing was "
                "registered"
            )
        report = Epoch(
            epoch=epoch + 1,
            loss=loss / max(self.epoch_steps, 1),
            train_crps_gap=crps / max(self.epoch_steps, 1),
            validation_nll=nll,
            validation_crps_gap=gap,
            seconds=perf_counter() - started,
        )
        self.sums, self.epoch_steps = (0.0, 0.0), 0
        return report

    def keep_best(self, report: Epoch, earlier: Sequence[Epoch]) -> None:
        """Remember the averaged weights if no earlier epoch was better on validation prompts."""
        best = min((entry.validation_crps_gap for entry in earlier), default=inf)
        if report.validation_crps_gap < best or not len(self.parts.validation):
            self.best = {name: value.clone() for name, value in self.average.items()}

    def use_best(self) -> None:
        """Put the weights of the best epoch into the network, or what there is before the first."""
        self._use(self.best or self.average)

    def _use(self, weights: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(weights[name])

    def _batches(self, epoch: int) -> list[Ints]:
        rng = np.random.default_rng((self.config.seed, epoch))
        size = min(self.config.extra_prompts_per_epoch, len(self.parts.extra))
        extra = rng.choice(self.parts.extra, size, replace=False)
        prompts = np.concatenate((self.parts.train, extra))
        return shuffled(self.data, prompts, self.config.prompts_per_batch, rng)

    def _share(self, steps_per_epoch: int) -> float:
        """How much of the run is done, by steps or by time, whichever is further."""
        budget = self.config.budget_minutes
        by_time = self.spent_s / (60.0 * budget) if budget else 0.0
        return min(max(self.steps_done / (steps_per_epoch * self.config.epochs), by_time), 1.0)

    def _step(self, batch: Batch, share: float) -> None:
        self._set_rates(share)
        # The same dropout after a resume as without one.
        torch.manual_seed(hash((self.config.seed, self.steps_done)))
        self.network.train()
        logits = self._logits(batch)
        crps = ranked_probability(logits, batch.label)
        loss = likelihood(logits, batch.label) + self.config.crps_weight * crps
        if not isfinite(value := loss.item()):
            raise TrainingError(
                f"the loss became {value} at step {self.steps_done}: lower encoder_rate and "
                "head_rate, or take up an earlier checkpoint; nothing was registered"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.values(), _CLIP)
        self.optimizer.step()
        self.steps_done += 1
        self.epoch_steps += 1
        self._average_in()
        self.sums = (self.sums[0] + value, self.sums[1] + crps.item())

    def _logits(self, batch: Batch) -> torch.Tensor:
        with precision(self.config, self.device):
            if batch.states is None:
                pooled = self.network.pooled(batch.ids, batch.mask)
            else:
                layers = self.config.frozen_layers
                pooled = self.network.pooled_from(batch.states, batch.mask, layers)
        head = self.network.head
        prompt = head.prompt(pooled, batch.features)
        logits: torch.Tensor = head(prompt[batch.prompt_of], head.llm(batch.llm), batch.settings)
        return logits

    def _set_rates(self, share: float) -> None:
        warm = self.config.warmup
        factor = share / warm if share < warm else 0.5 * (1 + cos(pi * (share - warm) / (1 - warm)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_rate"] * max(factor, 0.01)

    def _average_in(self) -> None:
        # Early on the average would remember the start for too long.
        decay = min(self.config.average, (1 + self.steps_done) / (10 + self.steps_done))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.values()), list(self.trained.values()), 1.0 - decay
            )

    @torch.no_grad()
    def _validated(self) -> tuple[float, float]:
        """Likelihood and CRPS above the unavoidable of the averaged weights, per row."""
        now = {name: parameter.detach().clone() for name, parameter in self.trained.items()}
        self._use(self.average)
        self.network.eval()
        sums = np.zeros(3)
        for prompts in in_order(self.data, self.parts.validation, self.config.prompts_per_batch):
            batch = batch_of(self.data, prompts, self.device)
            logits, rows = self._logits(batch), len(batch.llm)
            nll = likelihood(logits, batch.label).item()
            gap = ranked_probability(logits, batch.label).item()
            sums += rows * np.array([nll, gap, 1.0])
        for name, parameter in self.trained.items():
            parameter.copy_(now[name])
        nll_sum, gap_sum, count = sums.tolist()
        return (nll_sum / count, gap_sum / count) if count else (0.0, 0.0)


def _under(
    prefix: str, tensors: Mapping[str, torch.Tensor], device: str
) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value.to(device)
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _optimizer(network: LengthNetwork, config: EncoderConfig) -> torch.optim.AdamW:
    _freeze(network, config)
    encoder = [p for p in network.backbone.parameters() if p.requires_grad]
    groups = [
        {"params": encoder, "lr": config.encoder_rate, "base_rate": config.encoder_rate},
        {
            "params": list(network.head.parameters()),
            "lr": config.head_rate,
            "base_rate": config.head_rate,
        },
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, betas=(0.9, 0.98))


def _freeze(network: LengthNetwork, config: EncoderConfig) -> None:
    """Embeddings, the pooler that nobody asks, and the lowest layers stay as they came."""
    backbone = network.backbone
    for name, parameter in backbone.named_parameters():
        layer = _layer_of(name)
        frozen = layer is not None and layer < config.frozen_layers
        embedded = "embeddings" in name and not config.train_embeddings
        if frozen or embedded or name.startswith("pooler"):
            parameter.requires_grad_(False)


def _layer_of(name: str) -> int | None:
    parts = name.split(".")
    for before, number in pairwise(parts):
        if before in ("layer", "layers") and number.isdecimal():
            return int(number)
    return None


def precision(config: EncoderConfig, device: str) -> AbstractContextManager[object]:
    """Mixed precision on a GPU, and on CPUs when asked for."""
    kind = torch.device(device).type
    wanted = config.precision == "bfloat16" or (config.precision == "auto" and kind == "cuda")
    made: AbstractContextManager[object] = torch.autocast(
        kind, dtype=torch.bfloat16, enabled=wanted
    )
    return made
