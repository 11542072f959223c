"""How busy the machine was with others, from a /proc of the test's own and from the real one."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from waiting import wait_until

from serving.bench.config import BenchConfig
from serving.bench.machine_load import CpuTimes
from serving.bench.records import PolicyRun
from serving.bench.run import _Comparison
from serving.slo_config import DEFAULT

SESSION = 4242


class Proc:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def machine(self, *ticks: int) -> None:
        named = " ".join(map(str, ticks))
        (self.folder / "stat").write_text(f"cpu  {named} 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")

    def process(self, pid: int, *, session: int, user: int, kernel: int) -> None:
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        fields = ["S", "1", "1", str(session), *["0"] * 7, str(user), str(kernel), "0", "0"]
        (place / "stat").write_text(f"{pid} (a (strange) name) {' '.join(fields)}\n")

    def now(self) -> CpuTimes:
        found = CpuTimes.now(SESSION, self.folder)
        assert found is not None
        return found


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_work_that_is_not_ours_is_the_others(proc: Proc) -> None:
    # user nice system idle iowait irq softirq steal
    proc.machine(100, 50, 10, 1000, 40, 0, 0, 0)
    proc.process(7, session=SESSION, user=30, kernel=5)
    proc.process(os.getpid(), session=1, user=3, kernel=2)
    before = proc.now()
    proc.machine(180, 90, 20, 1060, 40, 5, 5, 10)
    proc.process(7, session=SESSION, user=80, kernel=15)
    proc.process(os.getpid(), session=1, user=11, kernel=4)
    proc.process(8, session=1, user=500, kernel=0)
    # 210 ticks in all, 150 of them at work, 70 of those for us.
    assert proc.now().others_since(before) == pytest.approx(80 / 210)


def test_of_no_time_nothing_is_known(proc: Proc) -> None:
    proc.machine(1, 0, 0, 1, 0, 0, 0, 0)
    assert proc.now().others_since(proc.now()) is None


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert CpuTimes.now(SESSION, tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_of_ours_is_counted_as_ours() -> None:
    spin = (sys.executable, "-c", "while True: pass")
    with subprocess.Popen(spin, start_new_session=True) as spinning:
        try:
            seen = {True: spinning.pid, False: 0}
            before = {ours: CpuTimes.now(session) for ours, session in seen.items()}

            def ticks(ours: bool) -> int:
                now, then = CpuTimes.now(seen[ours]), before[ours]
                assert now is not None
                assert then is not None
                return now.ours - then.ours

            wait_until(lambda: ticks(True) > ticks(False) + 20, what="20 ticks of ours")
        finally:
            spinning.kill()


@pytest.mark.parametrize(("share", "said"), [(0.35, True), (0.02, False), (None, False)])
def test_a_busy_machine_is_named_at_the_end(share: float | None, said: bool) -> None:
    config = BenchConfig(policies=("fcfs",), model="m")
    console = Console(record=True, width=200, file=io.StringIO())
    comparison = _Comparison(config, "m", DEFAULT, [], None, None, console)
    comparison.runs.append(PolicyRun("fcfs", (), other_cpu_share=share))
    comparison._warn_if_busy()
    assert ("fcfs 35%" in console.export_text()) is said
