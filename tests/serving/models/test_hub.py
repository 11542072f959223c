"""Hub ids on a machine that cannot fetch them: our error at once, with the ways out."""

import socket

import pytest

from predictor.errors import ModelError
from serving.models import hub
from serving.models.hub import check_fetchable, hub_cache


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine of its own cache, without proxies."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "VLLM_USE_MODELSCOPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(hub, "getproxies", dict)


@pytest.fixture
def endpoint(monkeypatch):
    """A hub's address; it listens once it is told to."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        yield listening


def test_a_hub_that_cannot_be_reached(endpoint):
    with pytest.raises(ModelError, match=r"'org/name'.*cannot be reached.*HF_ENDPOINT.*--model"):
        check_fetchable("org/name")


@pytest.mark.parametrize("value", ["mirror.example", "ftp://mirror.example"])
def test_a_hub_whose_address_is_no_url(monkeypatch, value):
    monkeypatch.setenv("HF_ENDPOINT", value)
    with pytest.raises(ModelError, match=f"HF_ENDPOINT '{value}' is no URL such as https://"):
        check_fetchable("org/name")


def test_a_hub_that_is_there(endpoint):
    endpoint.listen()
    assert check_fetchable("org/name") == "org/name"


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_machine_that_is_told_to_stay_offline(endpoint, monkeypatch, name):
    endpoint.listen()
    monkeypatch.setenv(name, "1")
    with pytest.raises(ModelError, match=f"{name} is set"):
        check_fetchable("org/name")


def test_what_was_fetched_before_needs_no_hub(endpoint):
    folder = hub_cache() / "models--org--name" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert check_fetchable("org/name") == "org/name"


def test_folders_other_hubs_and_proxies_are_not_looked_at(endpoint, tmp_path, monkeypatch):
    assert check_fetchable(str(tmp_path)) == str(tmp_path)
    monkeypatch.setattr(hub, "getproxies", lambda: {"http": "http://proxy"})
    assert check_fetchable("org/name") == "org/name"
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setenv("VLLM_USE_MODELSCOPE", "True")
    assert check_fetchable("org/name") == "org/name"
