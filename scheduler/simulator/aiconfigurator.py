"""Engine profiles from the package aiconfigurator-core: many cards and models.

A profile is named ``aic:SYSTEM/MODEL``, e.g. ``aic:h100_sxm/meta-llama/Meta-Llama-3.1-8B``.
"""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from predictor.errors import InputError
from scheduler.simulator.step_time import Attention, StepTime, no_attention
from scheduler.snapshot import Floats

PREFIX = "aic:"

_LARGEST = 8192
_TOKENS = np.unique(np.rint(np.geomspace(1, _LARGEST, 48))).astype(np.int64)
_CHUNK = np.array([0, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192], dtype=np.float64)
_CACHED = np.array([0, 256, 1024, 4096, 16384], dtype=np.float64)
_DECODES = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256], dtype=np.float64)
_CONTEXT = np.array([16, 128, 512, 1024, 2048, 4096, 8192, 16384], dtype=np.float64)
_BYTES = 2
_USABLE = 0.9

# Milliseconds of a step: all, without attention, attention of the prompts, of the decodes.
Breakdown = Callable[[int, int, int], tuple[float, float, float, float]]


def read_step_time(name: str) -> tuple[StepTime, int]:
    """The step time of ``SYSTEM/MODEL`` under vLLM, and the KV tokens beside its weights.

    Raises ``InputError`` for an unknown card or model, or without the package (extra
    ``profiles``). Cost: about three seconds.
    """
    system, slash, model = name.partition("/")
    if not slash:
        raise InputError(f"engine profile {PREFIX}{name}: write {PREFIX}SYSTEM/MODEL")
    try:
        from aiconfigurator_core.sdk.engine import EngineHandle  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError(
            f"engine profile {PREFIX}{name} needs the package aiconfigurator-core: "
            "pip install 'slotwise[profiles]'"
        ) from error
    kv_tokens = _kv_tokens(system, model)
    try:
        engine = EngineHandle.compile(model, system, "vllm")
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        raise InputError(f"engine profile {PREFIX}{name}: {error}") from error

    def breakdown(prompt: int, decodes: int, context: int) -> tuple[float, float, float, float]:
        found: tuple[float, float, float, float] = engine.mixed_step_breakdown(
            prompt, decodes, context, 2, 0
        )
        return found

    return step_time(breakdown), kv_tokens


def step_time(breakdown: Breakdown) -> StepTime:
    """Tabulate an estimator.

    The attention of a chunk over cached tokens is that of the whole less that of the cached.
    """
    whole = np.array([breakdown(int(n), 0, int(n)) for n in _TOKENS]) * 1e-3
    tokens = np.arange(_LARGEST + 1, dtype=np.float64)
    by_tokens = np.interp(tokens, _TOKENS, whole[:, 1])
    by_tokens[0] = 0.0
    counts = np.arange(int(_DECODES[-1]) + 1, dtype=np.float64)
    alone = np.array([breakdown(0, int(n), 1024)[1] for n in _DECODES[1:]]) * 1e-3
    heads = np.maximum(np.interp(counts, _DECODES[1:], alone) - by_tokens[: len(counts)], 0.0)
    heads[0] = 0.0
    prompt = _prompt_attention(whole[:, 2])
    decode = np.zeros((len(_DECODES), len(_CONTEXT)))
    for k, decodes in enumerate(_DECODES[1:], 1):
        for m, context in enumerate(_CONTEXT):
            decode[k, m] = breakdown(0, int(decodes), int(context))[3] * 1e-3
    attention = no_attention()._replace(
        seconds=prompt[:, :, None, None] + decode[None, None],
        chunk=_CHUNK,
        cached=_CACHED,
        decodes=_DECODES,
        context=_CONTEXT,
    )
    return StepTime(np.zeros((3, 8)), by_tokens, heads, Attention(*attention))


def _prompt_attention(whole: Floats) -> Floats:
    """float64[chunk, cached] from the attention of whole prompts of ``_TOKENS``."""
    # Quadratic beyond the largest prompt asked for, as attention is.
    squared = np.polyfit(_TOKENS[-6:].astype(np.float64), whole[-6:], 2)
    total = _CHUNK[:, None] + _CACHED[None, :]

    def of(n: Floats) -> Floats:
        inside = np.interp(n, np.append(0, _TOKENS), np.append(0.0, whole))
        return np.where(n > _LARGEST, np.polyval(squared, n), inside)

    return np.maximum(of(total) - of(np.broadcast_to(_CACHED, total.shape)), 0.0)


def _kv_tokens(system: str, model: str) -> int:
    """Tokens that fit into nine tenths of the card's memory beside 16-bit weights."""
    data = files("aiconfigurator_core")
    try:
        card = yaml.safe_load(data.joinpath("systems", f"{system}.yaml").read_text("utf-8"))
        name = f"{model.replace('/', '--')}_config.json"
        config: dict[str, Any] = json.loads(data.joinpath("model_configs", name).read_text("utf-8"))
        memory = float(card["gpu"]["mem_capacity"])
        head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        kv_width = config["num_key_value_heads"] * head
        width, layers = config["hidden_size"], config["num_hidden_layers"]
        per_layer = width * (2 * width + 2 * kv_width + 3 * config["intermediate_size"])
        weights = layers * per_layer + 2 * config["vocab_size"] * width
    except FileNotFoundError as error:
        raise InputError(
            f"engine profile {PREFIX}{system}/{model}: {error.filename} is not in the package; "
            "SYSTEM is a card like h100_sxm or l40s, MODEL a name on the hub"
        ) from error
    except (KeyError, TypeError) as error:
        raise InputError(
            f"engine profile {PREFIX}{system}/{model}: not a dense decoder on one card ({error!r})"
        ) from error
    left = _USABLE * memory - _BYTES * weights
    if left <= 0:
        raise InputError(
            f"engine profile {PREFIX}{system}/{model}: its weights do not fit the card"
        )
    return int(left / (2 * _BYTES * layers * kv_width))
