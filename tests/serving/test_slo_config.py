import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from predictor.errors import ConfigError
from scheduler.slo import Slo, SloClass
from serving import slo_config


def write(folder: Path, text: str, name: str = "slo.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        slo_config.load(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert "pydantic" not in text
    return text


def test_built_in_classes() -> None:
    assert slo_config.load(None).slo_classes() == {
        "code": SloClass("code", Slo(e2e_s=30.0), 0),
        "chat": SloClass("chat", Slo(ttft_s=5.0, tpot_s=0.1), 1),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "slo.yaml",
            "classes:\n  code: {e2e_ms: 30000, priority: 0}\n"
            "  chat: {ttft_ms: 5000, tpot_ms: 100, priority: 1}\n",
        ),
        (
            "slo.TOML",
            "[classes.code]\ne2e_ms = 30000\npriority = 0\n"
            "[classes.chat]\nttft_ms = 5000\ntpot_ms = 100.0\npriority = 1\n",
        ),
        ("slo.json", json.dumps({"classes": slo_config.DEFAULT.document()})),
    ],
)
def test_every_format_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    assert slo_config.load(write(tmp_path, text, name)) == slo_config.DEFAULT


def test_a_class_may_be_shed_if_it_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, "classes: {batch: {e2e_ms: 9, sheddable: true}, chat: {e2e_ms: 9}}\n")
    classes = slo_config.load(path).slo_classes()
    assert (classes["batch"].sheddable, classes["chat"].sheddable) == (True, False)
    wrong = write(tmp_path, "classes: {batch: {sheddable: 1}}\n")
    assert "'classes.batch.sheddable' is 1: give true or false" in message(wrong)


def test_class_without_target_and_default_class(tmp_path: Path) -> None:
    path = write(tmp_path, "classes: {batch: {priority: 3}}\ndefault_class: batch\n")
    config = slo_config.load(path)
    assert config.default_class == "batch"
    assert config.slo_classes()["batch"].slo.empty
    assert config.document() == {"batch": {"priority": 3}}


def test_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        slo_config.DEFAULT.default_class = "code"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("class: {}", ["unknown key 'class'", "did you mean 'classes'"]),
        ("classes: {chat: {ttft: 5000}}", ["'classes.chat.ttft'", "did you mean 'ttft_ms'"]),
        ("classes: {chat: {tpot_s: 5}}", ["'classes.chat.tpot_s'", "did you mean 'tpot_ms'"]),
        ("classes: {chat: {zzz: 5}}", ["'classes.chat.zzz'", "use one of ttft_ms, tpot_ms"]),
        ("classes: {chat: {ttft_ms: 0}}", ["'classes.chat.ttft_ms' is 0", "positive number"]),
        ("classes: {chat: {ttft_ms: -5}}", ["is -5", "positive number of milliseconds"]),
        ("classes: {chat: {ttft_ms: .nan}}", ["is nan", "positive"]),
        ("classes: {chat: {ttft_ms: .inf}}", ["is inf", "positive"]),
        ("classes: {chat: {ttft_ms: true}}", ["is True", "positive"]),
        ("classes: {chat: {ttft_ms: 5s}}", ["is '5s'", "positive number of milliseconds"]),
        ("classes: {chat: {priority: 1.5}}", ["'classes.chat.priority' is 1.5", "whole number"]),
        ("classes: {chat: }", ["'classes.chat' is None", "mapping", "ttft_ms"]),
        ("classes: {chat: 5000}", ["'classes.chat' is 5000", "mapping"]),
        ("classes: {}", ["at least one class"]),
        ("classes:", ["at least one class"]),
        ("default_class: chat", ["at least one class"]),
        ("classes: {1: {ttft_ms: 5}}", ["class name 1", "quotes"]),
        ("classes: {'': {ttft_ms: 5}}", ["class name ''"]),
        ("classes: {chat: {}}\ndefault_class: chatt", ["'chatt'", "did you mean 'chat'"]),
        ("classes: {chat: {}}\ndefault_class: 3", ["'default_class' is 3", "one of the classes"]),
        ("classes: {a: {e2e_ms: 0}, b: {e2e_ms: 0}}", ["classes.a.e2e_ms", "(1 more like it)"]),
        ("", ["mapping with the key 'classes'"]),
        ("- chat", ["mapping with the key 'classes'"]),
        ("classes: {chat: [", ["not valid yaml", "line 1"]),
        ("classes: 2024-99-99", ["not valid yaml"]),
        ("classes:\n  chat: {}\n  chat: {}", ["'chat' stands twice", "line 3"]),
        ("classes: &a {chat: *a}", ["classes.chat"]),
        ("[" * 3000, ["not valid yaml"]),
        ("classes: {chat: {ttft_ms: 1" + "0" * 400 + "}}", ["classes.chat.ttft_ms", "positive"]),
    ],
)
def test_bad_content(tmp_path: Path, text: str, parts: list[str]) -> None:
    said = message(write(tmp_path, text))
    assert [part for part in parts if part not in said] == []
    assert len(said) < 600


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("slo.json", "{'classes': 1}", "not valid json"),
        ("slo.json", '{"classes": {}, "classes": {}}', "'classes' stands twice"),
        ("slo.json", "[" * 100_000, "not valid json"),
        ("slo.toml", "classes = [", "not valid toml"),
        ("slo.toml", "x = 1\nx = 2", "not valid toml"),
        ("slo.ini", "", "name it .yaml, .yml, .toml, .json"),
    ],
)
def test_bad_file(tmp_path: Path, name: str, text: str, part: str) -> None:
    assert part in message(write(tmp_path, text, name))


def test_missing_file_names_the_built_in_classes(tmp_path: Path) -> None:
    said = message(tmp_path / "absent.yaml")
    assert "no such file" in said
    assert "code and chat" in said


def test_folder_and_binary_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    assert "cannot be read" in message(folder)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not valid yaml" in message(binary)
