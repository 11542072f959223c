from pathlib import Path

import pytest

from predictor.errors import ConfigError
from serving.settings import load


def write(folder: Path, text: str, name: str = "slotwise.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("SLOTWISE_"):
            monkeypatch.delenv(name)


def refused(file: Path | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_flags_over_environment_over_file(tmp_path, monkeypatch):
    file = write(tmp_path, "port: 1\nhost: file\npolicy: fcfs\n")
    monkeypatch.setenv("SLOTWISE_PORT", "2")
    monkeypatch.setenv("SLOTWISE_HOST", "environment")
    loaded = load(file, {"port": 3, "predictor_workers": None})
    assert (loaded.settings.port, loaded.settings.host) == (3, "environment")
    assert loaded.settings.policy == "fcfs"
    assert loaded.sources["port"] == "--port"
    assert loaded.sources["host"] == "SLOTWISE_HOST"
    assert loaded.sources["policy"] == str(file)
    assert loaded.sources["predictor_workers"] == "default"


@pytest.mark.parametrize(
    ("name", "text"),
    [("s.toml", 'port = 7\npolicy = "sjf"\n'), ("s.json", '{"port": 7, "policy": "sjf"}')],
)
def test_every_format(tmp_path, name, text):
    settings = load(write(tmp_path, text, name)).settings
    assert (settings.port, settings.policy) == (7, "sjf")


def test_the_environment_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOTWISE_CONFIG", str(write(tmp_path, "port: 9")))
    assert load().settings.port == 9


def test_an_unknown_key_is_told_the_nearest_name(tmp_path):
    said = refused(write(tmp_path, "prot: 1"))
    assert "unknown key 'prot'" in said
    assert "did you mean 'port'" in said


def test_an_unknown_variable_is_told_the_nearest_name(monkeypatch):
    monkeypatch.setenv("SLOTWISE_POLCY", "fcfs")
    assert "did you mean 'SLOTWISE_POLICY'" in refused()


def test_a_wrong_value_names_its_source(tmp_path, monkeypatch):
    said = refused(write(tmp_path, "port: 99999"))
    assert "'port'" in said
    assert "slotwise.yaml" in said
    monkeypatch.setenv("SLOTWISE_TIME_BOX_MS", "-1")
    assert "SLOTWISE_TIME_BOX_MS" in refused()


def test_a_secret_is_never_shown(monkeypatch):
    monkeypatch.setenv("SLOTWISE_API_TOKEN", "hunter2")
    assert "hunter2" not in refused()
    monkeypatch.setenv("SLOTWISE_API_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("SLOTWISE_DATABASE_URL", "postgresql://u:secret@h/d")
    settings = load().settings
    assert "hunter2" not in repr(settings)
    assert "secret" not in repr(settings)


def test_a_list_is_no_settings_file(tmp_path):
    assert "keys and values" in refused(write(tmp_path, "- port"))


def test_an_empty_file_changes_nothing(tmp_path):
    assert load(write(tmp_path, "")).settings == load().settings


def test_the_sidecar_listens_on_loopback_by_default():
    assert load().settings.host == "127.0.0.1"
