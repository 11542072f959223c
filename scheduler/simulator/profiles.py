"""Engine profiles: how fast an engine steps and what it can hold, by name or from a folder."""

import json
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from predictor.errors import InputError
from scheduler.latency import StepLatency, StepWork
from scheduler.latency_fitter import LatencyFitter
from scheduler.simulator import aiconfigurator
from scheduler.simulator.engine import EngineRules
from scheduler.simulator.step_time import StepTime
from scheduler.simulator.tables import read_tables
from scheduler.snapshot import Limits

# Layers of dense decoders, from their public configurations, by the end of the model's name.
_LAYERS = {
    "llama-3.2-1b": 16,
    "llama-3.2-3b": 28,
    "llama-3.1-8b": 32,
    "llama-3-8b": 32,
    "meta-llama-3-8b": 32,
    "llama-3.1-70b": 80,
    "llama-3.3-70b": 80,
    "llama-2-7b": 32,
    "llama-2-13b": 40,
    "mistral-7b": 32,
    "qwen2.5-0.5b": 24,
    "qwen2.5-1.5b": 28,
    "qwen2.5-3b": 36,
    "qwen2.5-7b": 28,
    "qwen2.5-14b": 48,
    "qwen2.5-32b": 64,
    "qwen3-0.6b": 28,
    "qwen3-1.7b": 28,
    "qwen3-4b": 36,
    "qwen3-8b": 36,
    "qwen3-14b": 40,
    "qwen3-32b": 64,
}

# vLLM schedules asynchronously unless told otherwise from this release on.
_ASYNCHRONOUS_SINCE = (0, 14)

# Seconds (decode: per step, per sequence, per sequence and cached token; prefill: per step, per
# token, per squared token) of Llama-3.1-8B in bfloat16 on one card, fitted to the kernel tables
# of the package aiconfigurator-core (mean error 2-8 %); KV tokens that fit beside the weights.
_LLAMA_8B = {
    "h200": ((4.900e-3, 1.202e-5, 2.972e-8), (4.35e-3, 1.60e-5, 8.1e-10), 830_000, 8192),
    "h100": ((6.363e-3, 1.108e-5, 4.145e-8), (5.80e-3, 1.53e-5, 8.7e-10), 412_000, 8192),
    "a100": ((11.465e-3, 3.763e-5, 8.074e-8), (9.33e-3, 5.21e-5, 1.8e-9), 412_000, 8192),
    "l40s": ((22.234e-3, 3.692e-5, 1.901e-7), (20.24e-3, 4.92e-5, 3.6e-9), 190_000, 2048),
}
_MODEL = "llama-3.1-8b"


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """One engine: its step time, limits and rules.

    ``memory_bound``: KV memory is a limit. ``template_tokens``: what its chat template adds to
    a prompt that was counted without one.
    """

    name: str
    step_time: StepTime
    limits: Limits
    rules: EngineRules
    memory_bound: bool = True
    template_tokens: int = 0

    @property
    def most_tokens(self) -> int | None:
        """What one request may keep in KV memory; ``None`` where that is no limit."""
        block = self.rules.block_size
        return self.limits.kv_tokens // block * block if self.memory_bound else None

    def latency(self) -> StepLatency:
        """What a policy's latency model learns from a short self-profile of this engine."""
        fitter = LatencyFitter()
        for decodes in (1, 2, 4, 8, 16, 32, 64, 128, self.limits.max_num_seqs):
            for context in (64, 512, 2048):
                if decodes <= self.limits.max_num_seqs:
                    self._observe(fitter, 0, 0, decodes, context)
        most = self.limits.max_batched_tokens
        chunks = {min(tokens, most) for tokens in (16, 64, 256, 1024, 4096, most)}
        for tokens, cached, decodes in product(sorted(chunks), (0, 512, 4096), (0, 4, 16, 64)):
            if decodes <= self.limits.max_num_seqs:
                for prefills in (1, 2, 4):
                    self._observe(fitter, prefills, tokens, decodes, 512, cached)
        latency = fitter.fit()
        if latency is None:
            raise InputError(f"engine profile {self.name}: its step times make no latency model")
        return latency

    def alone_s(self, prompt_tokens: int) -> float:
        """Seconds that the first token of a prompt takes on an idle engine."""
        whole, rest = divmod(prompt_tokens, self.limits.max_batched_tokens)
        chunks = [self.limits.max_batched_tokens] * whole + [rest] * (rest > 0)
        cached = np.cumsum([0, *chunks])
        return sum(
            self.step_time.seconds(np.array([chunk]), cached[k : k + 1])
            for k, chunk in enumerate(chunks)
        )

    def slower(self, factor: float) -> "EngineProfile":
        """The same engine with every step so many times as long."""
        time = self.step_time
        scaled = StepTime(
            linear=time.linear * factor,
            by_tokens=time.by_tokens * factor,
            by_sequences=time.by_sequences * factor,
            attention=time.attention._replace(seconds=time.attention.seconds * factor),
        )
        return replace(self, name=f"{self.name}/{factor:g}", step_time=scaled)

    def _observe(
        self,
        fitter: LatencyFitter,
        prefills: int,
        tokens: int,
        decodes: int,
        context: int,
        cached: int = 0,
    ) -> None:
        work = StepWork.alike(
            prefills=prefills,
            prefill_tokens=tokens,
            decodes=decodes,
            context_tokens=decodes * context,
            cached=cached,
        )
        step_s = self.step_time.seconds_of(prefills, tokens, decodes, context, cached)
        fitter.observe(work, step_s)


def profile_names() -> list[str]:
    """The built-in profiles."""
    return [f"{card}-{_MODEL}" for card in _LLAMA_8B]


def load_profile(name: str) -> EngineProfile:
    """Return a profile: built in, ``aic:SYSTEM/MODEL``, a folder or a ``slotwise profile`` file.

    ``NAME/2`` is the engine NAME with every step twice as long.

    Raises ``InputError`` naming what is missing.
    """
    if name in profile_names():
        return _built_in(name)
    if name.startswith(aiconfigurator.PREFIX):
        return _estimated(name.removeprefix(aiconfigurator.PREFIX))
    path = Path(name)
    slowed = re.fullmatch(r"(.+)/(\d+(?:\.\d+)?)", name)
    if slowed and not path.exists() and float(slowed[2]) > 0:
        return load_profile(slowed[1]).slower(float(slowed[2]))
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path)
    near = get_close_matches(name, profile_names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(profile_names())}"
    raise InputError(
        f"engine profile {name!r} is neither a known name, a folder nor a file: {hint}"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises ``InputError``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object")
    return content


def _built_in(name: str) -> EngineProfile:
    decode, prefill, kv_tokens, batched = _LLAMA_8B[name.removesuffix(f"-{_MODEL}")]
    latency = StepLatency.linear(
        step_s=decode[0],
        decode_s=decode[1],
        context_token_s=decode[2],
        prefill_step_s=prefill[0],
        prompt_token_s=prefill[1],
        squared_token_s=prefill[2],
    )
    return EngineProfile(
        name=name,
        step_time=StepTime.of_latency(latency),
        limits=Limits(max_num_seqs=256, max_batched_tokens=batched, kv_tokens=kv_tokens),
        rules=EngineRules(asynchronous=True),
    )


def _estimated(name: str) -> EngineProfile:
    step_time, kv_tokens = aiconfigurator.read_step_time(name)
    return EngineProfile(
        name=name,
        step_time=step_time,
        limits=Limits(max_num_seqs=256, max_batched_tokens=8192, kv_tokens=kv_tokens),
        rules=EngineRules(asynchronous=True),
    )


def _from_file(path: Path) -> EngineProfile:
    """A profile that ``slotwise profile`` recorded from a running engine."""
    content = read_json(path)
    try:
        limits, latency = dict(content["limits"]), StepLatency.from_dict(content["latency"])
        for name in limits:
            _whole(path, limits, name)
        return EngineProfile(
            name=str(content.get("name", path.stem)),
            step_time=StepTime.of_latency(latency),
            limits=Limits(**limits),
            rules=EngineRules(**content.get("rules", {})),
            template_tokens=int(content.get("template_tokens", 0)),
        )
    except InputError as error:
        raise InputError(f"engine profile {path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"engine profile {path} is not one that `slotwise profile` wrote: {error!r}"
        ) from error


def _from_folder(folder: Path) -> EngineProfile:
    """A recorded run: its ``meta.json`` and the tables in its folder ``profile``."""
    meta_path = folder / "meta.json"
    if not meta_path.exists() and (folder.parent / "meta.json").exists():
        folder, meta_path = folder.parent, folder.parent / "meta.json"
    meta = read_json(meta_path)
    settings, memory = (_object(meta_path, meta, key) for key in ("engine_kwargs", "kv_cache"))
    block_size = _whole(meta_path, {**settings, **memory}, "block_size", 16)
    blocks = _blocks(meta_path, memory, block_size)
    limits = Limits(
        max_num_seqs=_whole(meta_path, settings, "max_num_seqs", 256),
        max_batched_tokens=_whole(meta_path, settings, "max_num_batched_tokens", 2048),
        # One block of vLLM's pool is a placeholder that no request gets.
        kv_tokens=(blocks - 1) * block_size if blocks is not None else 1 << 40,
    )
    return EngineProfile(
        name=folder.name,
        step_time=read_tables(folder / "profile", layers=_layers(meta_path, meta)),
        limits=limits,
        rules=EngineRules(
            block_size=block_size,
            asynchronous=_asynchronous(meta, settings),
            by_priority=settings.get("scheduling_policy") == "priority",
            prefix_caching=bool(memory.get("enable_prefix_caching", False)),
        ),
        memory_bound=blocks is not None,
    )


def _blocks(path: Path, memory: dict[str, Any], block_size: int) -> int | None:
    """KV blocks, ``None`` where the file does not say."""
    if memory.get("num_gpu_blocks") is not None:
        return _whole(path, memory, "num_gpu_blocks")
    if memory.get("num_kv_tokens") is not None:
        return _whole(path, memory, "num_kv_tokens") // block_size
    return None


def _object(path: Path, holder: dict[str, Any], key: str) -> dict[str, Any]:
    value = holder.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key} is {value!r}, an object is needed")
    return value


def _whole(path: Path, holder: dict[str, Any], name: str, default: int | None = None) -> int:
    """A whole number >= 1; ``default`` where there is none."""
    value = holder.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < inf:
        raise InputError(f"{path}: {name} is {value!r}, a number >= 1 is needed")
    return int(value)


def _layers(path: Path, meta: dict[str, Any]) -> int:
    """Layers of the model: said in ``meta.json``, or known by the model's name."""
    for holder in (meta, _object(path, meta, "model_config")):
        for key in ("num_hidden_layers", "num_layers"):
            if holder.get(key) is not None:
                return _whole(path, holder, key)
    name = re.sub(r"-(instruct|chat|it|hf|base|v\d.*)$", "", str(meta.get("model", "")).lower())
    found = _LAYERS.get(re.sub(r"-(instruct|chat|it|hf|base|v\d.*)$", "", name.split("/")[-1]))
    if found is None:
        raise InputError(
            f"{path}: how many layers {meta.get('model')!r} has is not known; add "
            '"num_hidden_layers" to the file'
        )
    return found


def _asynchronous(meta: dict[str, Any], settings: dict[str, Any]) -> bool:
    said = settings.get("async_scheduling")
    if isinstance(said, bool):
        return said
    found = re.match(r"(\d+)\.(\d+)", str(meta.get("vllm_version", "")))
    return found is None or (int(found[1]), int(found[2])) >= _ASYNCHRONOUS_SINCE
