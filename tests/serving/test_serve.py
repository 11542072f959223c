"""The command line that becomes of ``slotwise serve``."""

import sys

import pytest

from predictor.errors import ConfigError
from serving.serve import MIDDLEWARE, SCHEDULER, launch
from serving.settings import Settings


def started(*flags, mode="active", told=None):
    return launch("folder", flags, Settings(mode=mode), name="asked", told=told or {})


def test_vllm_with_our_two_parts_and_the_users_flags_last():
    command = started("--port", "9000").command
    assert command[:3] == (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
    assert command[3:9] == (
        *("--model", "folder", "--scheduler-cls", SCHEDULER, "--middleware", MIDDLEWARE),
    )
    assert command[-2:] == ("--port", "9000")


def test_requests_name_the_model_as_the_user_did():
    assert started().command[9:11] == ("--served-model-name", "asked")
    assert "asked" not in started("--served-model-name=other").command


def test_shadow_has_both_parts_and_off_none():
    assert SCHEDULER in started(mode="shadow").command
    off = started("--max-num-seqs", "4", mode="off").command
    assert not any("slotwise" in part.lower() for part in off[3:])


@pytest.mark.parametrize("flag", ["--scheduler-cls=a.B", "--scheduler_cls", "--model"])
def test_what_we_set_ourselves_cannot_be_set(flag):
    with pytest.raises(ConfigError, match=flag.partition("=")[0]):
        started(flag, "x")


def test_our_flags_travel_by_environment(monkeypatch):
    monkeypatch.setenv("SLOTWISE_POLICY", "sjf")
    assert started(told={"SLOTWISE_POLICY": "edf"}).environment["SLOTWISE_POLICY"] == "edf"
