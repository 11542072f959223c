"""``predict``, ``evaluate``, ``models``, ``onboard`` and ``refine`` on the command line."""

import json

import pytest
from typer.testing import CliRunner

from predictor.errors import ArtifactError, DatasetError
from predictor.history import HistoryPredictor
from predictor.partial import PartialAnswer
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from serving.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=True)


@pytest.fixture
def stored(tmp_path):
    folder = tmp_path / "history"
    HistoryPredictor.fit([Prompt("a")] * 4, [10, 20, 30, 40]).save_pretrained(folder)
    return folder


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Hi"}\n\n{"text": "", "max_tokens": 5, "llm": "m"}\n')
    return file


def test_predict_in_input_order(stored, prompts, tmp_path):
    done = run("predict", "--model", stored, "--input", prompts, "--output", tmp_path / "o.jsonl")
    assert done.exit_code == 0, done.output
    first, second = map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines())
    assert first.keys() == {"mean", "quantiles", "bin_edges", "probabilities"}
    assert sum(first["probabilities"]) == pytest.approx(1.0)
    assert second["quantiles"]["0.9"] <= 5


def test_an_llm_never_seen_is_told(prompts, tmp_path):
    output = tmp_path / "o.jsonl"
    done = run("predict", "--input", prompts, "--output", output, "--llm", "unheard-of")
    assert done.exit_code == 0, done.output
    assert "unheard-of is not known" in " ".join(done.output.split())
    assert len(output.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe", "holds no prompt"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        (b'{"question": "Hi"}', "names no prompt"),
        (b"[]", "holds no prompt"),
        (b'{"prompt": "a", "max_tokens": NaN}', "max_tokens is not a number (line 1: nan)"),
        (b'{"prompt": "a", "max_tokens": 0}', "below one"),
        (b'{"prompt": "a", "temperature": "hot"}', "line 1"),
    ],
)
def test_bad_prompts(stored, tmp_path, content, says):
    (tmp_path / "p.jsonl").write_bytes(content)
    output = tmp_path / "o.jsonl"
    done = run("predict", "--model", stored, "--input", tmp_path / "p.jsonl", "--output", output)
    assert isinstance(done.exception, DatasetError)
    assert says in str(done.exception)
    assert not output.exists()


def test_a_prompt_that_cannot_be_read_has_an_error_in_its_place(stored, tmp_path):
    lines = ['{"prompt": "a"}', '{"prompt": "b", "max_tokens": -1}', "oops", '{"prompt": "c"}']
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    output = tmp_path / "o.jsonl"
    done = run("predict", "--model", stored, "--input", tmp_path / "p.jsonl", "--output", output)
    assert isinstance(done.exception, DatasetError)
    assert "2 of 4 prompts are used" in str(done.exception)
    found = list(map(json.loads, output.read_text().splitlines()))
    assert ["error" in line for line in found] == [False, True, True, False]
    assert found[1] == {"error": "negative max_tokens: -1"}


@pytest.mark.parametrize("limit", ["Infinity", "null", '""', "1e20", "1000000000000"])
def test_a_limit_without_end_is_none(stored, tmp_path, limit):
    lines = f'{{"prompt": "a", "max_tokens": {limit}}}\n{{"prompt": "a"}}'
    (tmp_path / "p.jsonl").write_text(lines)
    output = tmp_path / "o.jsonl"
    done = run("predict", "--model", stored, "--input", tmp_path / "p.jsonl", "--output", output)
    assert done.exit_code == 0, done.output
    first, second = output.read_text().splitlines()
    assert first == second


def test_a_batch_of_openai_is_forecast_as_its_prompts(stored, tmp_path):
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 15}
    batch = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (tmp_path / "p.jsonl").write_text(
        json.dumps(batch) + '\n{"prompt": null, "text": "a", "max_tokens": "15"}\n'
    )
    output = tmp_path / "o.jsonl"
    done = run("predict", "--model", stored, "--input", tmp_path / "p.jsonl", "--output", output)
    assert done.exit_code == 0, done.output
    first, second = output.read_text().splitlines()
    assert first == second
    assert json.loads(first)["quantiles"]["0.9"] <= 15


def test_evaluate_writes_the_scores(stored, lengths_folder, tmp_path):
    output = tmp_path / "metrics.json"
    done = run("evaluate", "--model", stored, "--lengths", lengths_folder, "--output", output)
    assert done.exit_code == 0, done.output
    document = json.loads(output.read_text())
    assert document["llms"].keys() == {"alpha", "beta", "gamma"}
    assert document["remaining_mae"]["0"]["samples"] == 480


def test_a_split_of_another_name(stored, lengths_folder, tmp_path):
    done = run("evaluate", "--model", stored, "--lengths", lengths_folder, "--split", "all",
               "--output", tmp_path / "m.json")  # fmt: skip
    assert done.exit_code == 2


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_predictor_that_is_nowhere(prompts, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    done = run("predict", "--model", "nobody", "--input", prompts, "--output", "o.jsonl")
    assert isinstance(done.exception, ArtifactError)
    assert "nobody" in str(done.exception)


def test_history_cannot_be_taught(stored, lengths_folder, tmp_path):
    done = run("onboard", "--model", stored, "--lengths", lengths_folder, "--llm", "beta",
               "--output", tmp_path / "new")  # fmt: skip
    assert isinstance(done.exception, ArtifactError)
    assert not (tmp_path / "new").exists()


def test_the_seed_reaches_whatever_is_trained(monkeypatch, tmp_path):
    class HeardError(Exception):
        pass

    def heard(config, **rest):
        raise HeardError(config.seed, config.encoder.seed, config.fast.seed)

    monkeypatch.setattr("serving.train.run_training", heard)
    done = run("train", "--seed", 7, "--set", "fast.seed=8", "--output", tmp_path / "model")
    assert isinstance(done.exception, HeardError)
    assert done.exception.args == (7, 7, 8)


def test_refine_stores_a_predictor_that_reads_answers(stored, tmp_path, monkeypatch):
    """On a made-up data set whose tokens are its words."""

    class Words:
        def cut(self, texts, points):
            for text in texts:
                words = text.split(" ")
                yield len(words), {n: " ".join(words[:n]) for n in points if n < len(words)}

    def record(number):
        answer = " ".join(["word"] * (40 + number % 300))
        turns = [("human", "Say"), ("gpt", answer)] * 2
        return {"id": f"c{number}_0", "conversations": [{"from": w, "value": t} for w, t in turns]}

    data = tmp_path / "data.json"
    data.write_text(json.dumps([record(number) for number in range(300)]))
    monkeypatch.setattr("serving.train.tokenizer_counter", lambda model: Words())
    done = run("refine", "--model", stored, "--dataset-path", data, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [entry["generated"] for entry in metrics["remaining"]] == [32, 64, 128, 256]
    loaded = LengthPredictor.from_pretrained(tmp_path / "out")
    assert loaded.remaining([PartialAnswer(Prompt("Say"), "word " * 40, 40)])[0].mean >= 1
