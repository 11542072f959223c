"""Lengths that ship with the package, joined with the prompts of another."""

import gzip

import pytest

from predictor.errors import ConfigError, DatasetError
from training.collected import known
from training.collected.known import Collected
from training.config import TrainingConfig, read_config
from training.pipeline import train
from training.sharegpt import Conversation, Turn

HEADER = "prompt_id,model,input_size,output_sizes,temp,top_p,max_tokens\n"


def conversation(name):
    return Conversation(name, (Turn("human", f"Tell me about {name}"), Turn("gpt", "ok")))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder that stands for the package's; writes one model's lengths into it."""
    monkeypatch.setattr(known, "files", lambda package: tmp_path)

    def write(rows, model="mine"):
        text = HEADER + "".join(f"{name},{model},5,{sizes},0.7,1.0,100\n" for name, sizes in rows)
        (tmp_path / f"{model}.csv.gz").write_bytes(gzip.compress(text.encode()))

    return write


def test_samples_and_where_they_were_cut(shipped):
    shipped([("a_0", "10 30"), ("b_0", "100")])
    found = Collected.of("mine")
    assert found.cap == 100
    assert found.mean("a_0", 100) == 20
    assert found.mean("a_0", 20) == 15
    assert known.known_models() == ("mine",)


def test_rows_have_prompts_and_cuts(shipped):
    shipped([("a_0", "10 30"), ("b_0", "100"), ("gone_0", "7")])
    rows = Collected.of("mine").rows([conversation("b_0"), conversation("a_0"), conversation("x")])
    assert [prompt.id for prompt in rows.prompts] == ["b_0", "a_0"]
    assert rows.llms == ("mine",)
    assert rows.cut.sum() == 1
    assert rows.seen.sum() == 2
    assert rows.sha256


def test_another_data_set_is_refused(shipped):
    shipped([("a_0", "10")])
    with pytest.raises(DatasetError, match="measure your own"):
        Collected.of("mine").rows([conversation("x")])


def test_an_unknown_model_is_refused(shipped):
    with pytest.raises(DatasetError, match="no model"):
        Collected.of("mine")
    shipped([("a_0", "10")])
    with pytest.raises(DatasetError, match="only of mine"):
        Collected.of("other")


def test_a_predictor_learns_them(shipped, made_up, records, tmp_path):
    """Cut answers count as long as they came."""
    names = [f"c{number}_0" for number in range(400)]
    shipped([(name, "100" if number % 2 else "20") for number, name in enumerate(names)])
    config = TrainingConfig(collected="mine", dataset_path=made_up, kind="history")
    result = train(tmp_path / "model", config, counter=lambda: None)
    assert result.data.rows.llms == ("mine",)
    forecast = result.predictor.predict(result.data.rows.requests()[:1])[0]
    assert 40 < forecast.mean < 80


def test_two_sources_are_one_too_many(tmp_path):
    with pytest.raises(ConfigError, match="not both"):
        read_config(None, {"lengths": tmp_path, "collected": "smollm2"})


def test_the_embedded_models_own_lengths_ship():
    assert known.known_models() == ("smollm2",)
    found = Collected.of("smollm2")
    assert found.cap == 512
    assert len(found.samples) >= 800
    assert all(1 <= tokens <= found.cap for sizes in found.samples.values() for tokens in sizes)
    twice = [name for name, sizes in found.samples.items() if len(sizes) >= 2]
    assert len(twice) >= 200
