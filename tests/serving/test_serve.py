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
    assert command[:4] == (sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server")
    assert command[4:10] == (
        *("--model", "folder", "--scheduler-cls", SCHEDULER, "--middleware", MIDDLEWARE),
    )
    assert command[-2:] == ("--port", "9000")


def test_requests_name_the_model_as_the_user_did():
    assert started().command[10:12] == ("--served-model-name", "asked")
    assert "asked" not in started("--served-model-name=other").command


def test_shadow_has_both_parts_and_off_none():
    assert SCHEDULER in started(mode="shadow").command
    off = started("--max-num-seqs", "4", mode="off").command
    assert not any("slotwise" in part.lower() for part in off[4:])


@pytest.fixture
def config(tmp_path):
    """Writes the file of vLLM's ``--config``."""

    def write(text):
        path = tmp_path / "vllm.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


REFUSED = [
    "scheduler-cls: a.B",
    "scheduler_cls: a.B",
    "scheduler-c: a.B",
    "model: another",
    "async-scheduling: false",
    "no-async-scheduling: true",
]


@pytest.mark.parametrize(
    "flag",
    ["--scheduler-cls=a.B", "--scheduler_cls", "--scheduler-cl", "--model", "--no_async-sched"],
)
def test_what_we_set_ourselves_cannot_be_set(flag):
    with pytest.raises(ConfigError, match=f"{flag.partition('=')[0]} is what"):
        started(flag, "x")


@pytest.mark.parametrize("line", REFUSED)
def test_nor_in_the_file_of_vllm(config, line):
    with pytest.raises(ConfigError, match=r"in .*vllm\.yaml is what"):
        started("--config", config(f"port: 8123\n{line}\n"))


@pytest.mark.parametrize(
    "flags", [["--served_model_name", "other"], ["--served-model", "a", "b"], ["--served=other"]]
)
def test_a_name_that_the_user_gave_is_the_only_one(flags):
    assert "asked" not in started(*flags).command


@pytest.mark.parametrize("key", ["served-model-name", "served_model_name", "served-model"])
@pytest.mark.parametrize("spelling", [["--config", "{}"], ["--config={}"]])
def test_a_name_in_the_file_of_vllm_counts(config, key, spelling):
    path = config(f"{key}: [team-chat, team]\nport: 8123\n")
    command = started("--port", "9000", *(part.format(path) for part in spelling)).command
    assert "--served-model-name" not in command
    place = command.index("--config")  # the one spelling that vLLM reads
    assert command[place : place + 2] == ("--config", path)


def test_other_keys_of_the_file_are_left_to_vllm(config):
    command = started("--config", config("middleware: a.B\nasync-scheduling: true\n")).command
    assert MIDDLEWARE in command
    assert command[10:12] == ("--served-model-name", "asked")


def test_the_layout_yields_to_the_file(config, monkeypatch):
    monkeypatch.setattr("serving.engine.layout.default", lambda: "compact")
    assert "uni" in started().command
    path = config("distributed_executor_backend: mp\n")
    assert "uni" not in started("--config", path).command
    assert "uni" not in started("--distributed-executor-backend=mp").command


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "flags and values"), ("- port", "flags and values"), ("port: [", "not valid yaml")],
)
def test_a_file_that_vllm_could_not_read_is_said_at_once(config, text, said):
    with pytest.raises(ConfigError, match=said):
        started("--config", config(text))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--config"], "names no file"),
        (["--config", "/no/such.yaml"], "no such file"),
        (["--config", "vllm.toml"], "must be YAML"),
        (["--config", "a.yaml", "--config=b.yaml"], "given twice"),
        (["another-model", "--port", "9000"], "'another-model' follows the model"),
    ],
)
def test_flags_that_vllm_could_not_use_are_said_at_once(flags, said):
    with pytest.raises(ConfigError, match=said):
        started(*flags)


def test_our_flags_travel_by_environment(monkeypatch):
    monkeypatch.setenv("SLOTWISE_POLICY", "sjf")
    assert started(told={"SLOTWISE_POLICY": "edf"}).environment["SLOTWISE_POLICY"] == "edf"
