"""``examples/replay_trace.py``."""

import re

import numpy as np


def test_each_policy_has_a_line_with_its_attainment(run, tmp_path):
    rng = np.random.default_rng(0)
    at_s = np.cumsum(rng.exponential(0.1, 80))
    rows = [f"{t:.3f},{rng.integers(10, 2000)},{rng.integers(1, 300)}" for t in at_s]
    trace = tmp_path / "trace.csv"
    trace.write_text("\n".join(["t_s,input_tokens,output_tokens", *rows]))
    policies = ("fcfs", "slotwise", "own_policy:GuardedShortest")
    lines = run("examples/replay_trace.py", trace, *policies).splitlines()
    assert [line.split()[0] for line in lines] == list(policies)
    assert all(re.search(r" [\d.]+% attained, +[\d.]+ s on average$", line) for line in lines)
