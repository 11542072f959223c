"""Step times from measured kernels: a folder in the ``vllm_runs/*/profile`` layout."""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from predictor.errors import InputError
from scheduler.simulator.step_time import Attention, StepTime
from scheduler.snapshot import Floats

# What one step of a dense decoder runs once, and what each layer runs, by table and name.
_ONCE_BY_TOKENS = ("embedding", "final_layernorm")
_ONCE_BY_SEQUENCES = ("lm_head", "sampler")
_PER_LAYER = {
    "layernorm": 2,
    "qkv_proj": 1,
    "rotary_emb": 1,
    "o_proj": 1,
    "gate_up_proj": 1,
    "act_fn": 1,
    "down_proj": 1,
}
# Some models have these as well.
_PER_LAYER_IF_THERE = {"qk_norm": 1}
_AXES = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
_LARGEST = 16_384

Rows = list[dict[str, str]]
Cells = dict[tuple[float, float, float, float], float]


def read_tables(folder: Path, *, layers: int) -> StepTime:
    """Read ``dense.csv, per_sequence.csv, attention.csv`` and ``skew_fit.csv`` (may be absent).

    Raises ``InputError`` naming the file and what it lacks. Cost: about 0.1 s.
    """
    dense = _curves(folder / "dense.csv", "tokens")
    by_sequence = _curves(folder / "per_sequence.csv", "sequences")
    tokens = np.arange(_LARGEST + 1, dtype=np.float64)
    once = _sum(folder / "dense.csv", dense, dict.fromkeys(_ONCE_BY_TOKENS, 1), tokens)
    optional = {name: n for name, n in _PER_LAYER_IF_THERE.items() if name in dense}
    each = _sum(folder / "dense.csv", dense, _PER_LAYER | optional, tokens)
    heads = dict.fromkeys(_ONCE_BY_SEQUENCES, 1)
    return StepTime(
        linear=np.zeros((3, 8)),
        by_tokens=once + layers * each,
        by_sequences=_sum(folder / "per_sequence.csv", by_sequence, heads, tokens[:4097]),
        attention=_attention(folder, layers),
    )


def _read(path: Path, columns: Sequence[str]) -> Rows:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"profile table {path} cannot be read ({error}): a profile folder holds "
            "dense.csv, per_sequence.csv and attention.csv"
        ) from error
    if not rows:
        raise InputError(f"profile table {path} has no rows")
    missing = [name for name in columns if rows[0].get(name) is None]
    if missing:
        raise InputError(f"profile table {path} lacks the column(s) {', '.join(missing)}")
    return rows


def _number(path: Path, row: Mapping[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"profile table {path}: {name} is {row[name]!r}, a number is needed")
    return value


def _seconds(path: Path, row: Mapping[str, str]) -> float:
    value = _number(path, row, "time_us")
    if value < 0:
        raise InputError(f"profile table {path}: time_us is {value}, times are not negative")
    return value * 1e-6


def _curves(path: Path, axis: str) -> dict[str, dict[float, float]]:
    """Seconds by ``axis`` of each layer of the table."""
    curves: dict[str, dict[float, float]] = defaultdict(dict)
    for row in _read(path, ("layer", axis, "time_us")):
        curves[row["layer"]][_number(path, row, axis)] = _seconds(path, row)
    return curves


def _sum(
    path: Path, curves: Mapping[str, dict[float, float]], times: Mapping[str, int], at: Floats
) -> Floats:
    """Sum of the named curves at each of ``at``, float64[n]; zero at zero."""
    missing = sorted(times.keys() - curves.keys())
    if missing:
        raise InputError(f"profile table {path} lacks the layer(s) {', '.join(missing)}")
    total = np.zeros(len(at))
    for name, count in times.items():
        total += count * _extended(curves[name], at)
    total[0] = 0.0
    return total


def _extended(curve: Mapping[float, float], at: Floats) -> Floats:
    """Linear between the points, and beyond the last as between the last two."""
    x = np.array(sorted(curve))
    y = np.array([curve[value] for value in x])
    values = np.interp(at, x, y)
    if len(x) > 1:
        slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
        values = np.where(at > x[-1], y[-1] + (at - x[-1]) * max(slope, 0.0), values)
    return np.asarray(values)


def _attention(folder: Path, layers: int) -> Attention:
    path = folder / "attention.csv"
    cells: Cells = {}
    for row in _read(path, (*_AXES, "time_us")):
        c, u, n, v = (_number(path, row, axis) for axis in _AXES)
        cells[c, u, n, v] = layers * _seconds(path, row)
    axes = [np.array(sorted({0.0} | {cell[k] for cell in cells})) for k in range(3)]
    axes.append(np.array(sorted({cell[3] for cell in cells if cell[2] > 0})))
    if min(map(len, axes)) < 2:
        raise InputError(f"profile table {path} needs two points on each axis {', '.join(_AXES)}")
    return Attention(_grid(path, cells, axes), *axes, *_skew(folder / "skew_fit.csv", axes[0]))


def _grid(path: Path, cells: Cells, axes: Sequence[Floats]) -> Floats:
    """The full grid: what was not measured follows linearly from what was, decodes first."""
    chunk, cached, decodes, context = axes
    grid = np.full([len(axis) for axis in axes], np.nan)
    place = [{value: k for k, value in enumerate(axis.tolist())} for axis in axes]
    for (c, u, n, v), seconds in cells.items():
        i, j, k = place[0][c], place[1][u], place[2][n]
        at = slice(None) if n == 0 else place[3].get(v)
        if at is not None:
            # Without decodes there is no context, without a prefill nothing cached before it.
            grid[i, slice(None) if c == 0 else j, k, at] = seconds
    grid[0, :, 0, :] = 0.0
    for i in range(len(chunk)):
        for j in range(len(cached)):
            for m in range(len(context)):
                _complete(grid[i, j, :, m], decodes)
    if np.isnan(grid).any():
        i, j, k, m = np.argwhere(np.isnan(grid))[0]
        raise InputError(
            f"profile table {path} lacks prefill_chunk={chunk[i]:.0f}, kv_prefill={cached[j]:.0f}, "
            f"n_decode={decodes[k]:.0f}, kv_decode={context[m]:.0f} and what it could follow from"
        )
    return grid


def _complete(values: Floats, axis: Floats) -> None:
    """Fill gaps along one axis in place; beyond the last point as between the last two."""
    known = ~np.isnan(values)
    if known.all() or known.sum() < 2:
        return
    curve = dict(zip(axis[known].tolist(), values[known].tolist(), strict=True))
    values[:] = np.where(known, values, _extended(curve, axis))


_SKEW = ("pc", "n_label", "skew_rate_label", "kv_big_label", "kp_label")


def _skew(path: Path, chunk: Floats) -> tuple[Floats, ...]:
    """The skew table and its bounds; without the file no batch is skewed."""
    if not path.exists():
        bound = np.array([np.inf])
        return np.zeros((1, 1, 1, 1, 1)), bound, bound, bound, bound, bound
    rows = _read(path, (*_SKEW, "alpha"))
    bounds = [chunk] + [
        np.array(sorted({_bound(path, row[name]) for row in rows})) for name in _SKEW[1:]
    ]
    place = [{value: k for k, value in enumerate(bound.tolist())} for bound in bounds]
    table = np.full([len(bound) for bound in bounds], np.nan)
    for row in rows:
        key = (_number(path, row, "pc"), *(_bound(path, row[name]) for name in _SKEW[1:]))
        if key[0] in place[0]:
            table[tuple(at[value] for at, value in zip(place, key, strict=True))] = _number(
                path, row, "alpha"
            )
    return (_pooled(table), *bounds)


def _bound(path: Path, label: str) -> float:
    """The right end of a bucket: ``n<=128``, ``sr<=15%``, ``sr>70%``, ``kvB<=16k``, ``kp=0``."""
    found = re.fullmatch(r"\w+?(<=|>|=)(\d+(?:\.\d+)?)([%k]?)", label or "")
    if found is None:
        raise InputError(f"profile table {path}: bucket {label!r} is not understood")
    relation, number, unit = found.groups()
    if relation == ">":
        return math.inf
    return float(number) * {"": 1.0, "%": 0.01, "k": 1024.0}[unit]


def _pooled(table: Floats) -> Floats:
    """Fill the buckets nobody measured with the mean over ever more axes, the first kept last."""
    for axes in ((4,), (3, 4), (2, 3, 4), (1, 2, 3, 4), (0, 1, 2, 3, 4)):
        count = np.isfinite(table).sum(axis=axes, keepdims=True)
        mean = np.nansum(table, axis=axes, keepdims=True) / np.maximum(count, 1)
        table = np.where(np.isnan(table) & (count > 0), mean, table)
    return np.nan_to_num(table)
