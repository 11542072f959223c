"""Replay a trace of your own on a simulated engine, under several policies.

    python examples/replay_trace.py my-trace.csv
    python examples/replay_trace.py my-trace.csv fcfs slotwise own_policy:GuardedShortest

The trace is a CSV file with the columns t_s,input_tokens,output_tokens; docs/inputs.md names the
other formats. `slotwise simulate --trace FILE` does the same, with seeds, figures and a report.
"""

import sys
from pathlib import Path

from predictor import LengthDistribution
from scheduler import SimRequest, Slo, check_policy, load_profile
from serving import run_policy
from training import TraceRow, read_trace

ENGINE = "l40s-llama-3.1-8b"
# What every request is to meet: a first token within 2 s, then 20 tokens a second.
TARGETS = Slo(ttft_s=2.0, tpot_s=0.05)


def main(trace: Path, policies: list[str]) -> None:
    """Print the SLO attainment and the mean latency of each policy."""
    requests = [_request(k, row) for k, row in enumerate(read_trace(trace))]
    for name in policies:
        run = run_policy(check_policy(name), [load_profile(ENGINE)], requests)
        attained = sum(bool(record.met) for record in run.records) / len(run.records)
        mean_s = sum(record.e2e_s or 0.0 for record in run.records) / len(run.records)
        print(f"{name:45} {attained:6.1%} attained, {mean_s:6.2f} s on average")


def _request(number: int, row: TraceRow) -> SimRequest:
    return SimRequest(
        request_id=str(number),
        arrival_s=row.t_s,
        prompt_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        slo=TARGETS,
        # The policies know the true length here. Put forecasts of your predictor in its place.
        lengths=LengthDistribution.point(row.output_tokens),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["fcfs", "slotwise"])
