"""What no schedule can exceed: the most promises that the engine's speed lets anyone keep.

python benchmarks/ceiling.py RESULT PROFILE [--output FILE]

RESULT is a result file of ``slotwise bench`` with its requests, PROFILE one of ``slotwise
profile``. The engine counts as one machine that is always full: an answer token takes a
full step's share, a prompt token holds up every slot. Every request may be worked on from the
very start, before it has arrived, in any slices. What then meets its deadline (code: the end
to end target; chat: TTFT, then TPOT for each further token) is found exactly by Moore and
Hodgson's rule, so it bounds every scheduler from above, clairvoyant ones included.
"""

import argparse
import heapq
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scheduler.latency import StepLatency


@dataclass(frozen=True, slots=True)
class Job:
    """One request: seconds of the whole engine, and when they must be over."""

    work_s: float
    due_s: float


def most_on_time(jobs: Iterable[Job]) -> int:
    """How many can be on time at most on one machine, all there from the start (Moore 1968)."""
    chosen: list[float] = []
    busy_s = 0.0
    for job in sorted(jobs, key=lambda job: job.due_s):
        heapq.heappush(chosen, -job.work_s)
        busy_s += job.work_s
        if busy_s > job.due_s:
            busy_s += heapq.heappop(chosen)
    return len(chosen)


def jobs_of(
    records: Iterable[dict[str, Any]], classes: dict[str, dict[str, float]], engine: dict[str, Any]
) -> list[Job]:
    """Work and deadline of each recorded request."""
    latency = StepLatency.from_dict(engine["latency"])
    slots = engine["limits"]["max_num_seqs"]
    token_s = latency.decode_s(slots, 0.0) / slots
    prompt_s = latency.prefill[0] + latency.prefill[2]
    jobs = []
    for record in records:
        prompt = record["prompt_tokens"] + engine.get("template_tokens", 0)
        tokens = record["recorded_tokens"]
        targets = classes[record["slo_class"]]
        allowed_ms = targets.get("e2e_ms") or (
            targets["ttft_ms"] + targets.get("tpot_ms", 0.0) * (tokens - 1)
        )
        due_s = record["arrival_s"] + allowed_ms / 1e3
        jobs.append(Job(work_s=prompt * prompt_s + tokens * token_s, due_s=due_s))
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("profile", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    result = json.loads(arguments.result.read_text(encoding="utf-8"))
    engine = json.loads(arguments.profile.read_text(encoding="utf-8"))
    first = next(iter(result["policies"]))
    records = [record for record in result["requests"] if record["policy"] == first]
    jobs = jobs_of(records, result["config"]["slo_classes"], engine)
    found = {
        "requests": len(jobs),
        "work_s": sum(job.work_s for job in jobs),
        "last_arrival_s": max(record["arrival_s"] for record in records),
        "attainment_ceiling": most_on_time(jobs) / len(jobs),
        "attainment": {name: run["slo_attainment"] for name, run in result["policies"].items()},
    }
    print(json.dumps(found, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
