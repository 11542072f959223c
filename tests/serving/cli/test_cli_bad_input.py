"""Whatever is wrong from outside ends with one clear message and no traceback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def slotwise(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = "from serving.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env, "COLUMNS": "200"},
        check=False,
        timeout=300,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in output
    for word in words:
        assert word in output, output


def test_an_unknown_policy():
    assert_refused(slotwise("bench", "--policies", "fcsf"), "unknown policy 'fcsf'", "fcfs")


def test_no_policy_at_all():
    assert_refused(slotwise("bench", "--policies", ","), "no policy named")


def test_a_policy_named_twice():
    assert_refused(slotwise("bench", "--policies", "fcfs,fcfs"), "named twice")


def test_an_oracle_without_recorded_lengths():
    assert_refused(
        slotwise("bench", "--policies", "sjf-oracle", "--lengths", "natural"), "recorded"
    )


def test_lengths_of_another_kind():
    assert_refused(slotwise("bench", "--lengths", "guessed"), "recorded or natural")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("classes: {code: {e2e_ms: -1}}", ("e2e_ms", "positive")),
        ("classes: {code: {e2e: 1000}}", ("did you mean 'e2e_ms'",)),
    ],
)
def test_a_wrong_slo_file(tmp_path, content, words):
    file = tmp_path / "slo.yaml"
    file.write_text(content, encoding="utf-8")
    assert_refused(slotwise("bench", "--slo-config", str(file)), str(file), *words)


def test_a_missing_slo_file(tmp_path):
    file = tmp_path / "none.yaml"
    assert_refused(slotwise("bench", "--slo-config", str(file)), str(file))


def test_a_model_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert_refused(slotwise("bench", "--model", str(tmp_path)), str(tmp_path), "no weights")


def test_a_missing_data_set(tmp_path, model_folder):
    file = tmp_path / "none.json"
    assert_refused(
        slotwise("bench", "--model", str(model_folder), "--dataset-path", str(file)), str(file)
    )


def test_a_data_set_that_is_not_sharegpt(tmp_path, model_folder):
    file = tmp_path / "other.json"
    file.write_text(json.dumps([{"text": "hello"}]), encoding="utf-8")
    assert_refused(
        slotwise("bench", "--model", str(model_folder), "--dataset-path", str(file)), str(file)
    )


def test_a_predictor_folder_that_is_none(tmp_path, model_folder):
    assert_refused(
        slotwise("bench", "--model", str(model_folder), "--predictor", str(tmp_path)),
        str(tmp_path),
    )


def test_a_port_in_use(tmp_path, model_folder):
    pytest.importorskip("vllm")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = slotwise(
            *("bench", "--policies", "fcfs", "--port", port, "--num-prompts", "4"),
            *("--model", str(model_folder), "--output", str(tmp_path / "result.json")),
        )
    assert_refused(done, f"port {port}")


def test_an_unknown_model_to_prepare():
    assert_refused(slotwise("model", "prepare", "gpt-9"), "gpt-9", "smollm2")


def test_targets_that_are_not_there_yet_say_so():
    for target in ("serve", "sidecar"):
        done = subprocess.run(
            ["make", target], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode != 0
        assert "not there yet" in done.stderr


def test_help_and_version():
    assert slotwise("--help").returncode == 0
    assert slotwise("bench", "--help").returncode == 0
