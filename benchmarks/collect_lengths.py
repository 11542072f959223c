"""Measures how long the embedded model's own answers are: the lengths that ship with Slotwise.

python benchmarks/collect_lengths.py [--train 800] [--test 240] [--test-samples 2]
    [--concurrency 64] [--seed 0] --folder DIR --output training/collected/smollm2.csv.gz

First turns of ShareGPT conversations of at most 1,024 tokens, half of the test ones code. DIR keeps
what came: the same command goes on from there. Temperature 0.7, answers cut at 512 tokens.
"""

import argparse
import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from serving.bench.replay import NATURAL_TEMPERATURE
from serving.collect.lengths import FIELDS, CollectSettings
from serving.collect.run import run_collecting
from serving.models import resolve
from training.sharegpt import Conversation, read_sharegpt
from training.split import split_of
from training.textfile import write_whole
from training.tokens import TokenizerCounter
from training.workload import MAX_PROMPT_TOKENS, candidates

_MODEL = "smollm2"
_CAP = 512


def test_prompts(
    conversations: list[Conversation], counter: TokenizerCounter, count: int, seed: int
) -> dict[str, str]:
    """Text by conversation: what `slotwise bench` may sample, half of it code."""
    found = candidates(conversations, counter)
    rng = np.random.default_rng(seed)
    chosen: dict[str, str] = {}
    for task in ("code", "chat"):
        pool = [c for c in found if c.slo_class == task]
        for place in rng.permutation(len(pool))[: count // 2]:
            chosen[pool[place].conversation_id] = pool[place].prompt
    return chosen


def training_prompts(
    conversations: list[Conversation], counter: TokenizerCounter, count: int, seed: int
) -> dict[str, str]:
    """Text by conversation, of the training and validation side."""
    own = [c for c in conversations if split_of(c.base_id) != "test"]
    sizes = counter.count([c.first_turn[0] for c in own])
    short = [c for c, size in zip(own, sizes, strict=True) if size <= MAX_PROMPT_TOKENS]
    order = np.random.default_rng(seed).permutation(len(short))[:count]
    return {short[place].id: short[place].first_turn[0] for place in order}


def collected(
    folder: Path, prompts: dict[str, str], *, samples: int, concurrency: int
) -> list[dict[str, str]]:
    """Rows of the lengths file that ``slotwise collect`` writes into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = folder / "asked.jsonl"
    lines = (json.dumps({"id": name, "prompt": text}) for name, text in prompts.items())
    asked.write_text("\n".join(lines), encoding="utf-8")
    settings = CollectSettings(
        base_url="",
        model=_MODEL,
        samples=samples,
        temperature=NATURAL_TEMPERATURE,
        max_tokens=_CAP,
        concurrency=concurrency,
    )
    output = folder / "lengths.csv.gz"
    run_collecting(asked, output, settings, private=True, console=Console())
    return list(csv.DictReader(io.StringIO(gzip.decompress(output.read_bytes()).decode())))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--test", type=int, default=240)
    parser.add_argument("--test-samples", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    conversations = list(read_sharegpt().conversations)
    counter = TokenizerCounter(Path(resolve(_MODEL)))
    test = test_prompts(conversations, counter, a.test, a.seed)
    train = training_prompts(conversations, counter, a.train, a.seed)
    rows = collected(
        a.folder / "test", test, samples=a.test_samples, concurrency=a.concurrency
    ) + collected(a.folder / "train", train, samples=1, concurrency=a.concurrency)
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["prompt_id"]))
    write_whole(a.output, gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    main()
