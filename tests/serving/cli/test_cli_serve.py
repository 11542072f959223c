"""``slotwise serve`` says what is wrong before vLLM starts, and hands the rest to it."""

import os
import sys

import pytest

from serving import vllm_releases
from serving.cli import main

MODEL = "somebody/some-model"


class TakenOverError(Exception):
    """vLLM has this process now."""


@pytest.fixture
def serve(monkeypatch):
    """Runs the command up to where vLLM takes over; gives its command and environment."""
    monkeypatch.setattr(vllm_releases, "installed", lambda: vllm_releases.SUPPORTED[0])
    monkeypatch.setattr("serving.models.hub.check_fetchable", lambda model: model)
    found = []

    def take_over(file, command, environment):
        found.append((command, environment))
        raise TakenOverError

    def run(*arguments):
        monkeypatch.setattr(os, "execve", take_over)
        monkeypatch.setattr("sys.argv", ["slotwise", "serve", MODEL, *arguments])
        with pytest.raises(TakenOverError):
            main()
        return found[-1]

    return run


def refused(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["slotwise", "serve", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code != 0
    return " ".join(capsys.readouterr().err.split())


def test_flags_of_ours_go_by_environment_and_others_to_vllm(serve, tmp_path):
    slos = tmp_path / "slos.yaml"
    slos.write_text("classes: {chat: {e2e_ms: 1000}}")
    command, environment = serve(
        *("--mode", "shadow", "--policy", "edf", "--slo-config", str(slos)),
        *("--port", "9000", "--enforce-eager"),
    )
    assert command[-3:] == ["--port", "9000", "--enforce-eager"]
    assert environment["SLOTWISE_MODE"] == "shadow"
    assert environment["SLOTWISE_POLICY"] == "edf"
    assert environment["SLOTWISE_SLO_CONFIG"] == str(slos)


def test_an_engine_is_told_where_a_policy_of_ones_own_lies(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "served_policy.py").write_text(
        "from scheduler.policies.qoserve import QoServePolicy as Served"
    )
    _, environment = serve("--policy", "served_policy:Served")
    assert environment["SLOTWISE_POLICY"] == "served_policy:Served"
    assert environment["SLOTWISE_POLICY_FOLDER"] == str(tmp_path)
    assert "SLOTWISE_POLICY_FOLDER" not in serve("--policy", "edf")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--mode", "sometimes"), "mode"),
        (("--policy", "slotwize"), "slotwize"),
        (("--policy", "no_such_module:A"), "there is no module 'no_such_module'"),
        (("--slo-config", "/no/such/file"), "/no/such/file"),
        (("--predictor", "./nope"), "no such folder"),
        (("--scheduler-cls", "a.B"), "--scheduler-cls"),
    ],
)
def test_what_is_wrong_is_said_at_once(monkeypatch, capsys, arguments, said):
    monkeypatch.setattr(vllm_releases, "installed", lambda: vllm_releases.SUPPORTED[0])
    assert said in refused(monkeypatch, capsys, MODEL, *arguments)


def test_the_model_comes_first(monkeypatch, capsys):
    monkeypatch.setattr(vllm_releases, "installed", lambda: vllm_releases.SUPPORTED[0])
    said = refused(monkeypatch, capsys, "--port", "9000", MODEL)
    assert "slotwise serve MODEL --port" in said


def test_a_predictor_that_cannot_be_read_is_refused(monkeypatch, capsys, tmp_path):
    """Priors would answer in its place, and nobody would see it."""
    monkeypatch.setattr(vllm_releases, "installed", lambda: vllm_releases.SUPPORTED[0])
    (tmp_path / "artifact.json").write_text("{")
    assert str(tmp_path) in refused(monkeypatch, capsys, MODEL, "--predictor", str(tmp_path))


def test_an_unsupported_release_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(vllm_releases, "installed", lambda: "0.12.3")
    assert "vLLM 0.12.3 is not supported" in refused(monkeypatch, capsys, MODEL)


def test_a_hub_that_cannot_be_reached_is_said_at_once(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(vllm_releases, "installed", lambda: vllm_releases.SUPPORTED[0])
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("serving.models.hub.getproxies", dict)
    said = refused(monkeypatch, capsys, MODEL)
    assert "somebody/some-model" in said
    assert "HF_ENDPOINT" in said
