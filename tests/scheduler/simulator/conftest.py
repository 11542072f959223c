"""A made-up recorded run whose step times can be worked out by hand."""

import csv
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

ONCE = {"embedding": 1.0, "final_layernorm": 2.0}
EACH = {
    "layernorm": 3.0,
    "qkv_proj": 4.0,
    "rotary_emb": 5.0,
    "o_proj": 6.0,
    "gate_up_proj": 7.0,
    "act_fn": 8.0,
    "down_proj": 9.0,
}
HEADS = {"lm_head": 100.0, "sampler": 10.0}
META = {
    "model": "made-up/Tiny",
    "num_hidden_layers": 2,
    "vllm_version": "0.19.0",
    "engine_kwargs": {"max_num_seqs": 4, "max_num_batched_tokens": 64},
    "kv_cache": {"block_size": 16, "num_gpu_blocks": 65, "enable_prefix_caching": True},
}
Rows = Sequence[Mapping[str, object]]


def by_tokens() -> list[dict[str, object]]:
    """A constant for one token, and twice as much for a hundred."""
    return [
        {"layer": layer, "tokens": tokens, "time_us": us * scale}
        for layer, us in (ONCE | EACH).items()
        for tokens, scale in ((1, 1), (100, 2))
    ]


def by_sequences() -> list[dict[str, object]]:
    return [
        {"layer": layer, "sequences": sequences, "time_us": us}
        for layer, us in HEADS.items()
        for sequences in (1, 8)
    ]


def attention_us(chunk: float, cached: float, decodes: float, context: float) -> float:
    return 10 * chunk + chunk * cached / 8 + decodes * context / 4


def attention() -> list[dict[str, object]]:
    return [
        {
            "prefill_chunk": c,
            "kv_prefill": u,
            "n_decode": n,
            "kv_decode": v,
            "time_us": attention_us(c, u, n, v),
        }
        for c, u, n, v in product((0, 32), (0, 64), (0, 1, 8), (0, 512))
        if (c or not u) and (n or not v)
    ]


class Folder:
    """A run folder; each file can be written again, or taken away with ``None``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.profile = path / "profile"
        self.profile.mkdir(parents=True)
        self.meta()
        self.table("dense", by_tokens())
        self.table("per_sequence", by_sequences())
        self.table("attention", attention())

    def meta(self, **changes: Any) -> None:
        (self.path / "meta.json").write_text(json.dumps({**META, **changes}), encoding="utf-8")

    def table(self, name: str, rows: Rows | None) -> None:
        file = self.profile / f"{name}.csv"
        if rows is None:
            file.unlink()
            return
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def requests(self, rows: Sequence[object]) -> None:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (self.path / "requests.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "run")
