"""The number format that an engine on CPUs computes in: one that the processor multiplies fast.

A processor without bfloat16 instructions converts every number of every product: a decode step of
16 takes 475 ms in bfloat16 and 184 ms in float32 on one with AVX2 alone.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from serving.engine import layout

AUTO = "auto"
FAST, PLAIN = "bfloat16", "float32"

_CPUINFO = Path("/proc/cpuinfo")
# The line with a core's features: on x86 and on Arm.
_FEATURE_LINES = frozenset({"flags", "Features"})
# AVX-512 BF16, AMX, and Arm's own.
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})
# A user's limit on what the libraries may use; these values leave bfloat16 instructions to them.
_ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_ONEDNN_BFLOAT16 = (
    *("DEFAULT", "ALL", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10"),
)
_ATEN_LIMIT = "ATEN_CPU_CAPABILITY"
_ATEN_OLDER = frozenset({"default", "avx2"})


def chosen(dtype: str) -> str:
    """Return the dtype to start vLLM with; ``auto`` is left to vLLM on anything but its CPU build.

    On CPUs ``auto`` becomes bfloat16 where the processor has instructions for it, else float32.
    """
    if dtype != AUTO or not layout.cpu_build():
        return dtype
    return of_processor(_features(), os.environ)


def reason(dtype: str) -> str:
    """Say why ``auto`` became this dtype."""
    has = "has" if dtype == FAST else "lacks"
    return (
        f"dtype {dtype}: this processor {has} bfloat16 instructions (AVX-512 BF16, AMX, Arm BF16)"
    )


def of_processor(cpuinfo: str, environment: Mapping[str, str]) -> str:
    """Return the faster dtype for a processor described as in ``/proc/cpuinfo``.

    Every core must have the instructions, and ``environment`` must not forbid them.
    """
    cores = _cores(cpuinfo)
    able = bool(cores) and all(core & _BFLOAT16 for core in cores)
    return FAST if able and not _forbidden(environment) else PLAIN


def _cores(cpuinfo: str) -> list[frozenset[str]]:
    """Each core's features."""
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    return [
        frozenset(features.split()) for name, _, features in pairs if name.strip() in _FEATURE_LINES
    ]


def _forbidden(environment: Mapping[str, str]) -> bool:
    if environment.get(_ATEN_LIMIT, "").lower() in _ATEN_OLDER:
        return True
    limits = (environment.get(name, "").upper() for name in _ONEDNN_LIMITS)
    return any(limit and not limit.startswith(_ONEDNN_BFLOAT16) for limit in limits)


def _features() -> str:
    try:
        return _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
