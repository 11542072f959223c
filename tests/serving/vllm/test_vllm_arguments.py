"""What `slotwise serve` hands over, read by vLLM's own parser."""

import importlib
import importlib.util

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")

from vllm.utils.argparse_utils import FlexibleArgumentParser

from serving.serve import MIDDLEWARE, SCHEDULER, launch
from serving.settings import Settings

# It has moved between releases.
_PLACES = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")


@pytest.fixture(scope="module")
def parser():
    for place in _PLACES:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError:
            continue
        return module.make_arg_parser(FlexibleArgumentParser())
    raise AssertionError(f"vLLM's flags are in none of {_PLACES}")


@pytest.fixture
def read(parser, tmp_path):
    """What vLLM makes of our command line, its configuration file being the given text."""
    file = tmp_path / "vllm.yaml"

    def read(text, *flags):
        file.write_text(text, encoding="utf-8")
        flags = [flag.replace("FILE", str(file)) for flag in flags]
        command = launch("folder", flags, Settings(), name="asked", told={}).command
        return parser.parse_args(list(command[3:]))

    return read


@pytest.mark.parametrize("flags", [("--config", "FILE"), ("--config=FILE", "--enforce_eager")])
def test_the_file_names_the_model_and_adds_its_middleware(read, flags):
    found = read("served_model_name: team-chat\nport: 8123\nmiddleware: a.B\n", *flags)
    assert found.served_model_name == ["team-chat"]
    assert (found.model, found.port) == ("folder", 8123)
    assert found.scheduler_cls == SCHEDULER
    assert sorted(found.middleware) == sorted(["a.B", MIDDLEWARE])


def test_flags_win_over_the_file_and_the_file_over_us(read):
    text = "served-model-name: team-chat\ndistributed-executor-backend: mp\n"
    assert read(text, "--config", "FILE", "--served-model=mine").served_model_name == ["mine"]
    found = read(text, "--config", "FILE")
    assert found.distributed_executor_backend == "mp"
    assert read("port: 8123", "--config", "FILE").served_model_name == ["asked"]


@pytest.mark.parametrize(
    "option",
    ["--served-model-name", "--scheduler-cls", "--no-async-scheduling", "--model"],
)
def test_a_shorter_spelling_of_ours_is_no_other_option_of_vllms(parser, option):
    """So every beginning of one is that option to vLLM, or none."""
    known = parser._option_string_actions
    assert option in known
    assert not [each for each in known if option.startswith(each) and each != option]
