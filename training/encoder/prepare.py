"""From observed lengths to an untrained network and everything it is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from predictor import artifact
from predictor.blend import BlendedPredictor
from predictor.calibration import GroupedCalibration
from predictor.conditioned import Parts
from predictor.corrected import CorrectedPredictor
from predictor.distribution import log_edges
from predictor.encoder.backbone import Backbone, load_backbone
from predictor.encoder.network import HeadShape, LengthNetwork
from predictor.encoder.predictor import EncoderPredictor
from predictor.encoder.window import Window, padded
from predictor.errors import ModelError
from predictor.features import feature_names
from predictor.hazard import HazardHead
from predictor.prompt import Prompt
from predictor.scaling import SETTINGS, Scaling, settings
from training.encoder.batches import TrainingData
from training.encoder.config import EncoderConfig
from training.encoder.loop import Progress, PromptParts, device_of, precision
from training.encoder.targets import targets
from training.lengths import LengthRows, joined
from training.split import Split

Ints = NDArray[np.int64]
Halves = NDArray[np.float16]

_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An untrained network, the data it will learn from, and which prompts do what."""

    network: LengthNetwork
    backbone: Backbone
    window: Window
    scaling: Scaling
    edges: Ints
    llms: tuple[str, ...]
    data: TrainingData
    parts: PromptParts

    def predictor(self) -> EncoderPredictor:
        """What the network's present weights predict, uncalibrated."""
        head = {name: value.detach().cpu().numpy() for name, value in self._head.items()}
        return EncoderPredictor(
            Parts(
                head=HazardHead.of(head),
                scaling=self.scaling,
                edges=self.edges,
                llms=self.llms,
                calibration=GroupedCalibration.identity(),
            ),
            backbone=self.network.backbone,
            backbone_config=self.backbone.config,
            window=self.window,
        )

    @property
    def _head(self) -> dict[str, torch.Tensor]:
        return dict(self.network.head.state_dict())


def prepare(
    rows: LengthRows, extra: LengthRows | None, config: EncoderConfig, progress: Progress
) -> Prepared:
    """``rows`` train and validate by their split; of ``extra`` the training side is drawn from."""
    both = rows if extra is None else joined(rows, extra)
    train, validation = _prompts_of(rows, "train"), _prompts_of(rows, "validation")
    drawn = _prompts_of(both, "train")
    drawn = drawn[drawn >= len(rows.prompts)]
    drawn = np.random.default_rng(config.seed).permutation(drawn)[: config.extra_prompts]
    used = np.concatenate((train, drawn, validation))
    torch.manual_seed(config.seed)
    backbone = _starting_backbone(config.backbone)
    edges = log_edges(config.longest, config.bins)
    network = LengthNetwork(backbone.module, _shape(backbone, len(both.llms), edges, config))
    window = Window(backbone.tokenizer, config.head_tokens, config.tail_tokens)
    scaling = Scaling.fit([Prompt(rows.prompts[p].text) for p in train])
    tokens = _tokens(both, window, used)
    data = TrainingData(
        tokens=tokens,
        states=_lower_states(network, tokens, used, config, progress),
        features=_features(both, scaling, used),
        rows=rows_of_prompts(both),
        llm=both.llm_of,
        settings=settings([Prompt("", temperature=_told(t)) for t in both.temperatures]),
        targets=targets(both, edges),
    )
    parts = PromptParts(train, drawn, validation)
    return Prepared(network, backbone, window, scaling, edges, both.llms, data, parts)


def _starting_backbone(name: str) -> Backbone:
    """As :func:`load_backbone`; of a folder with a trained predictor its encoder is taken up."""
    folder = Path(name).expanduser()
    if not (folder / artifact.INDEX).is_file():
        return load_backbone(name)
    trained = artifact.load(folder)
    trained = trained.base if isinstance(trained, CorrectedPredictor) else trained
    trained = trained.members.encoder if isinstance(trained, BlendedPredictor) else trained
    if not isinstance(trained, EncoderPredictor):
        raise ModelError(
            f"{name}: a {trained.kind} predictor holds no encoder to begin with; give minilm, a "
            "model folder, or an encoder or blend predictor"
        )
    return trained.backbone


def _prompts_of(rows: LengthRows, split: Split) -> Ints:
    used = np.unique(rows.prompt_of)
    return np.array([p for p in used if rows.prompts[p].split == split], dtype=np.int64)


def _shape(backbone: Backbone, llms: int, edges: Ints, config: EncoderConfig) -> HeadShape:
    return HeadShape(
        text_width=2 * int(backbone.module.config.hidden_size),
        features=len(feature_names()),
        settings=SETTINGS,
        llms=llms,
        bins=len(edges) - 1,
        hidden=config.hidden,
        llm_width=config.llm_width,
        dropout=config.dropout,
    )


def _tokens(rows: LengthRows, window: Window, used: Ints) -> list[Ints]:
    tokens: list[Ints] = [np.zeros(0, dtype=np.int64)] * len(rows.prompts)
    found = window.tokens([rows.prompts[p].text for p in used])
    for place, some in zip(used, found, strict=True):
        tokens[place] = some
    return tokens


def _features(rows: LengthRows, scaling: Scaling, used: Ints) -> NDArray[np.float32]:
    features = np.zeros((len(rows.prompts), len(feature_names())), dtype=np.float32)
    features[used] = scaling.features([Prompt(rows.prompts[p].text) for p in used])
    return features


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
