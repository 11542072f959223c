"""What ``slotwise serve`` adds to vLLM's flags on a machine without a GPU, unless they say it."""

import os
import shutil
from dataclasses import dataclass, field

from serving.engine import dtype, layout, memory
from serving.vllm_arguments import VllmArguments

_DTYPE, _KV_BYTES, _EAGER = "--dtype", "--kv-cache-memory-bytes", "--enforce-eager"
# A user of one of these has chosen the memory, or spreads the engine over several processes.
_MEMORY = (_KV_BYTES, "--gpu-memory-utilization", "--num-gpu-blocks-override")
_KV_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
_PARALLEL = tuple(f"--{kind}-parallel-size" for kind in ("tensor", "pipeline", "data"))
_SHORT_PARALLEL = ("-tp", "-pp", "-dp")
_COMPILING = (_EAGER, "--no-enforce-eager", "--compilation-config", "--optimization-level")
_SHORT_COMPILING = ("-O", "-cc")
_COMPILERS = ("g++", "clang++", "c++")


@dataclass(slots=True)
class CpuDefaults:
    """``arguments`` for vLLM and ``notes`` for the user that say what was chosen and why.

    ``flags`` are the user's own, less what is left to us.
    """

    flags: tuple[str, ...]
    arguments: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, model: str, given: VllmArguments) -> "CpuDefaults":
        """Of a model folder or hub id; empty for a vLLM that is not built for CPUs."""
        made = cls(given.flags)
        if layout.cpu_build():
            made._choose_dtype(given)
            made._choose_memory(model, given)
            made._choose_eager(given)
        return made

    def _choose_dtype(self, given: VllmArguments) -> None:
        value, others = given.split(_DTYPE)
        if value == dtype.AUTO:
            self.flags = others
        # Our flag overrules the file's.
        if (value or given.in_file(_DTYPE) or dtype.AUTO) == dtype.AUTO:
            found = dtype.chosen(dtype.AUTO)
            self.arguments += [_DTYPE, found]
            self.notes.append(f"{dtype.reason(found)}; {_DTYPE} changes it")

    def _choose_memory(self, model: str, given: VllmArguments) -> None:
        if os.environ.get(_KV_VARIABLE) or _any(given, (*_MEMORY, *_PARALLEL), _SHORT_PARALLEL):
            return
        asked = given.split(_DTYPE)[0] or given.in_file(_DTYPE) or dtype.AUTO
        found = memory.kv_cache_bytes(model, dtype=dtype.chosen(str(asked)))
        if found is not None:
            self.arguments += [_KV_BYTES, str(found)]
            self.notes.append(
                f"KV cache {found / memory.MIB:,.0f} MiB, half of the memory that is free beside "
                f"the weights; {_KV_BYTES} changes it"
            )

    def _choose_eager(self, given: VllmArguments) -> None:
        """Without a compiler vLLM would end at its first step."""
        if _any(given, _COMPILING, _SHORT_COMPILING) or _has_compiler():
            return
        self.arguments.append(_EAGER)
        self.notes.append(f"no C++ compiler here, so the model is not compiled: {_EAGER}")


def _any(given: VllmArguments, options: tuple[str, ...], short: tuple[str, ...]) -> bool:
    if any(given.where(option) is not None for option in options):
        return True
    return any(flag.startswith(short) for flag in given.flags)


def _has_compiler() -> bool:
    named = os.environ.get("CXX")
    return any(map(shutil.which, (named,) if named else _COMPILERS))
