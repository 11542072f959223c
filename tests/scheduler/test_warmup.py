"""An engine never waits for the compiler in mid-run."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kernels_after_warmup.py")


# In a process of its own: here other tests have compiled whatever they ran.
@pytest.mark.parametrize(
    "policy", ["slotwise", "slidingserve", "qoserve", "anneal-paper", "past-future", "edf"]
)
def test_a_warm_policy_compiles_nothing_more(policy):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), policy],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == []
