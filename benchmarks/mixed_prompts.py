"""A dataset of short and long prompts for `slotwise bench`, out of real conversations.

python benchmarks/mixed_prompts.py [--dataset-path FILE] [--short 90] [--long 30]
    [--short-tokens 200] [--long-tokens 700,1500] [--answer-tokens 20,160] [--seed 0] --output FILE

First turns of the held-out ShareGPT conversations: so many with a prompt of at most
``--short-tokens``, so many within ``--long-tokens``, answers within ``--answer-tokens``. Written in
ShareGPT's own format, for ``slotwise bench --dataset-path FILE --max-prompt-tokens 1500``.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from predictor.errors import SlotwiseError
from serving.models import resolve
from training.sharegpt import Conversation, read_sharegpt
from training.tokens import TokenizerCounter
from training.workload import Candidate, candidates


def within(text: str) -> tuple[int, int]:
    low, _, high = text.partition(",")
    return int(low), int(high)


def chosen(found: list[Candidate], count: int, bounds: tuple[int, int], seed: int) -> list[str]:
    """Ids of ``count`` conversations whose prompts are that long."""
    pool = [c.conversation_id for c in found if bounds[0] <= c.prompt_tokens <= bounds[1]]
    if len(pool) < count:
        raise SystemExit(f"{count} prompts of {bounds} tokens asked for, {len(pool)} found")
    picked = np.random.default_rng(seed).choice(pool, size=count, replace=False)
    return [str(each) for each in picked]


def record(conversation: Conversation) -> dict[str, object]:
    prompt, answer = conversation.first_turn
    turns = [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}]
    return {"id": conversation.id, "conversations": turns}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset-path", type=Path)
    parser.add_argument("--short", type=int, default=90)
    parser.add_argument("--long", type=int, default=30)
    parser.add_argument("--short-tokens", type=int, default=200)
    parser.add_argument("--long-tokens", type=within, default=(700, 1500))
    parser.add_argument("--answer-tokens", type=within, default=(20, 160))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    try:
        data = read_sharegpt(a.dataset_path)
        counter = TokenizerCounter(Path(resolve("smollm2")))
    except SlotwiseError as error:
        parser.error(str(error))
    low, high = a.answer_tokens
    found = [
        c
        for c in candidates(data.conversations, counter, max_prompt_tokens=a.long_tokens[1])
        if low <= c.output_tokens <= high
    ]
    wanted = {
        *chosen(found, a.short, (4, a.short_tokens), a.seed),
        *chosen(found, a.long, a.long_tokens, a.seed),
    }
    records = [record(c) for c in data.conversations if c.id in wanted]
    a.output.parent.mkdir(parents=True, exist_ok=True)
    a.output.write_text(json.dumps(records), encoding="utf-8")


if __name__ == "__main__":
    main()
