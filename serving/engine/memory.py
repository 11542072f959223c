"""Memory that a CPU engine may take for its KV cache on this machine, as it is now.

vLLM's own default is 92 % of all memory, and it does not start where less is free.
"""

import re
from collections.abc import Mapping
from pathlib import Path

MIB = 1 << 20

_NODES = Path("/sys/devices/system/node")
_MEMINFO = Path("/proc/meminfo")
_LIMIT, _USED = (Path("/sys/fs/cgroup") / f"memory.{name}" for name in ("max", "current"))
# What can be had at once: free, or a copy of what is on a disk.
_FREE = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")
_FIELD = re.compile(r"^(?:Node \d+ )?(\S+):\s+(\d+) kB$", re.MULTILINE)
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
# As vLLM names it.
_FOUR_BYTES = frozenset({"float32", "float"})
# Python, torch and the server's processes.
_OVERHEAD_BYTES = 1024 * MIB
_LEAST_BYTES = 256 * MIB
# Of what is free beside the weights; of what is free, for weights of unknown size.
_SHARE, _SHARE_UNKNOWN = 0.5, 0.25


def kv_cache_bytes(model: str, *, dtype: str) -> int | None:
    """Return bytes for the KV cache of a model folder or hub id; ``None``: nothing is known.

    Whole MiB. Half of what the weights leave of the free memory, and never less than an engine
    needs to start.
    """
    free = free_bytes()
    if free is None:
        return None
    weights = _weights_bytes(Path(model), dtype)
    room = free * _SHARE_UNKNOWN
    if weights is not None:
        room = (free - weights - _OVERHEAD_BYTES) * _SHARE
    return max(int(room), _LEAST_BYTES) // MIB * MIB


def free_bytes() -> int | None:
    """Return what the fullest NUMA node, or this control group, has free; ``None``: no Linux."""
    nodes = sorted(_NODES.glob("node*/meminfo")) or [_MEMINFO]
    texts = [text for node in nodes if (text := _text(node)) is not None]
    if not texts:
        return None
    free = min(sum(_fields(text).get(name, 0) for name in _FREE) for text in texts)
    limit, used = _text(_LIMIT), _text(_USED)
    if limit and used and limit.strip().isdigit():
        free = min(free, max(int(limit) - int(used), 0))
    return free


def _fields(meminfo: str) -> Mapping[str, int]:
    """Bytes by name."""
    return {name: int(kib) * 1024 for name, kib in _FIELD.findall(meminfo)}


def _weights_bytes(folder: Path, dtype: str) -> int | None:
    """Memory of the weights: files hold two bytes a number, float32 takes four."""
    if not folder.is_dir():
        return None
    on_disk = sum(path.stat().st_size for kind in _WEIGHTS for path in folder.glob(kind))
    return on_disk * (2 if dtype in _FOUR_BYTES else 1)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
