"""Whatever is wrong from outside ends with one clear message and no traceback."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from waiting import HANG_S

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
        timeout=HANG_S,
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


def test_an_oracle_without_recorded_lengths(tmp_path):
    (tmp_path / "data.json").write_text("[]")
    natural = ("bench", "--policies", "sjf-oracle", "--lengths", "natural")
    assert_refused(slotwise(*natural, "--model", "some/model"), "recorded")
    assert_refused(slotwise(*natural, "--dataset-path", str(tmp_path / "data.json")), "recorded")


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


def test_help_and_version():
    assert slotwise("--help").returncode == 0
    assert slotwise("bench", "--help").returncode == 0


HEADER = "t_s,input_tokens,output_tokens\n"
CARD = "h100-llama-3.1-8b"


@pytest.fixture
def trace(tmp_path):
    file = tmp_path / "good.csv"
    file.write_text(HEADER + "0,10,3\n0.5,20,4\n", encoding="utf-8")
    return str(file)


def assert_nothing_left(done, output, *words):
    assert_refused(done, *words)
    assert done.stderr.count("error:") == 1
    assert not output.exists()
    assert not output.with_name("report.html").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("t_s,input_tokens\n0,1\n", ("no column output_tokens", "Azure", "BurstGPT")),
        (HEADER + "-1,1,1\n", ("line 2", "negative time")),
        (HEADER + "0,1,-5\n", ("line 2", "negative output_tokens")),
        (HEADER + "0,many,1\n", ("line 2", "many")),
        (HEADER + "soon,1,1\n", ("line 2", "soon")),
        (HEADER, ("holds no row",)),
        ("", ("holds no row",)),
    ],
)
def test_a_trace_that_is_none(tmp_path, content, words):
    file, output = tmp_path / "bad.csv", tmp_path / "out" / "result.json"
    file.write_text(content, encoding="utf-8")
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--trace", str(file), "--output", str(output))
    )
    assert_nothing_left(done, output, str(file), *words)


def test_a_trace_with_failed_requests(tmp_path):
    file, output = tmp_path / "odd.csv", tmp_path / "out" / "result.json"
    file.write_text(f"{HEADER}0,10,3\n2,20,0\n1,20,5.0\n3,5,\n", encoding="utf-8")
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--trace", str(file), "--policies", "fcfs"),
        *("--output", str(output)),
    )
    assert done.returncode == 0
    assert "2 of 4 rows are used" in done.stderr
    assert "1 x output_tokens is 0: no output (line 3)" in done.stderr
    document = json.loads(output.read_text())
    assert len(document["requests"]) == 2
    (read,) = document["config"]["traces_read"]
    assert (read["read"], read["usable"]) == (4, 2)


def test_a_missing_trace(tmp_path):
    file, output = tmp_path / "none.csv", tmp_path / "out" / "result.json"
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--trace", str(file), "--output", str(output))
    )
    assert_nothing_left(done, output, str(file), "t_s,input_tokens,output_tokens")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--engine-profile", "h10-llama-3.1-8b"), ("'h10-llama-3.1-8b'", "did you mean h100")),
        (("--placement", "best"), ("placement 'best'", "round-robin")),
        (("--forecast", "guess"), ("forecast 'guess'", "noise:SIGMA")),
        (("--forecast", "noise:-1"), ("forecast 'noise:-1'", "SIGMA >= 0")),
        (("--forecast", "predicted"), ("--forecast predicted needs prompts",)),
        (("--policies", "fcsf"), ("unknown policy 'fcsf'", "fcfs")),
        (("--policies", "fcfs,fcfs"), ("each once",)),
        (("--workload", "sharegpt-code-chat"), ("--trace or --workload",)),
        (("--rate-scale", "0"), ("--rate-scale",)),
    ],
)
def test_a_wrong_flag_of_simulate(tmp_path, trace, arguments, words):
    output = tmp_path / "out" / "result.json"
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--trace", trace, "--output", str(output)),
        *arguments,
    )
    assert_nothing_left(done, output, *words)


def test_a_simulation_of_nothing(tmp_path):
    output = tmp_path / "out" / "result.json"
    done = slotwise("simulate", "--engine-profile", CARD, "--output", str(output))
    assert_nothing_left(done, output, "--trace or --workload")


def test_a_simulation_of_an_unknown_workload(tmp_path):
    output = tmp_path / "out" / "result.json"
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--workload", "sharegtp", "--output", str(output))
    )
    assert_nothing_left(done, output, "'sharegtp'", "sharegpt-code-chat")


def test_a_trace_of_an_unknown_class(tmp_path, trace):
    output = tmp_path / "out" / "result.json"
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--trace", f"cdoe={trace}"),
        *("--output", str(output)),
    )
    assert_nothing_left(done, output, "'cdoe'", "code, chat")


def test_requests_that_no_memory_holds_are_left_out_and_counted(tmp_path):
    file, output = tmp_path / "large.csv", tmp_path / "out" / "result.json"
    # The last token is put out, never cached: 1,600 tokens just fit.
    file.write_text(HEADER + "0,10,3\n1,5000,4\n2,1597,4\n3,1598,4\n", encoding="utf-8")
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--trace", str(file), "--kv-tokens", "1600"),
        *("--policies", "fcfs", "--output", str(output)),
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 4 rows are used" in done.stderr
    assert "2 x needs more KV memory than the engine's 1600 tokens (line 3: 5003)" in done.stderr
    document = json.loads(output.read_text())
    assert [row["prompt_tokens"] for row in document["requests"]] == [10, 1597]
    (read,) = document["config"]["traces_read"]
    assert (read["read"], read["usable"]) == (4, 2)


def test_a_trace_of_which_no_memory_holds_anything(tmp_path):
    file, output = tmp_path / "large.csv", tmp_path / "out" / "result.json"
    file.write_text(HEADER + "1,5000,4\n", encoding="utf-8")
    done = slotwise(
        *("simulate", "--engine-profile", CARD, "--trace", str(file), "--kv-tokens", "1600"),
        *("--policies", "fcfs", "--output", str(output)),
    )
    assert_nothing_left(done, output, "none of 1 rows can be used", "1600 tokens")


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        (None, ("meta.json", "cannot be read")),
        ({"model": "nobody/knows"}, ("meta.json", "how many layers", "num_hidden_layers")),
        ({"num_hidden_layers": 2}, ("dense.csv", "cannot be read")),
    ],
)
def test_an_incomplete_profile_folder(tmp_path, trace, meta, words):
    folder, output = tmp_path / "card", tmp_path / "out" / "result.json"
    folder.mkdir()
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    done = slotwise(
        *("simulate", "--engine-profile", str(folder), "--trace", trace, "--output", str(output))
    )
    assert_nothing_left(done, output, str(folder), *words)


def test_a_recorded_run_without_requests(tmp_path):
    output = tmp_path / "out" / "result.json"
    done = slotwise("validate-simulator", str(tmp_path), "--output", str(output))
    assert_nothing_left(done, output, str(tmp_path / "requests.jsonl"), "cannot be read")


def test_a_load_that_never_violates(tmp_path, trace):
    output = tmp_path / "out" / "result.json"
    done = slotwise(
        *("capacity", "--engine-profile", CARD, "--trace", trace, "--policies", "fcfs"),
        *("--seeds", "1", "--output", str(output)),
    )
    assert_nothing_left(done, output, "fcfs, seed 0", "never more than 1.0% violations")


@pytest.mark.parametrize("flag", ["--violations", "--tolerance"])
def test_a_share_of_capacity_that_is_none(tmp_path, trace, flag):
    output = tmp_path / "out" / "result.json"
    done = slotwise(
        *("capacity", "--engine-profile", CARD, "--trace", trace, "--output", str(output)),
        *(flag, "1.5"),
    )
    assert_nothing_left(done, output, f"{flag} 1.5")


@pytest.fixture
def collecting(tmp_path):
    """A collection of which all but one thing is in order."""
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Hi."}', encoding="utf-8")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    (model / "model.safetensors").write_bytes(b"weights")
    output = tmp_path / "out" / "lengths.csv.gz"
    return (
        *("collect", "--prompts", str(tmp_path / "prompts.jsonl"), "--model", str(model)),
        *("--output", str(output)),
    )


def test_a_server_and_engines_on_ray_at_once(collecting):
    done = slotwise(*collecting, "--ray", "--base-url", "http://localhost:8000")
    assert_refused(done, "--base-url", "--ray", "one of the two")


def test_the_address_of_a_cluster_that_is_not_to_be_used(collecting):
    assert_refused(slotwise(*collecting, "--address", "localhost:6379"), "--ray")


def test_a_collection_on_ray_without_prompts(collecting, tmp_path):
    (tmp_path / "prompts.jsonl").write_text("", encoding="utf-8")
    assert_refused(slotwise(*collecting, "--ray"), "holds no prompt")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra: cluster)")
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed (extra: cpu)")
def test_no_ray_cluster_at_the_address(collecting, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        done = slotwise(*collecting, "--ray", "--address", address)
    assert_refused(done, "no Ray cluster answers", "ray start --head")
    assert not list((tmp_path / "out").iterdir())
