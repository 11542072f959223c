"""A release nobody tried is refused, with the way out."""

import pytest

from predictor.errors import EngineError
from serving import vllm_releases


@pytest.mark.parametrize("release", ["0.32", "0.32.0", "0.32.0+cpu", "0.32.1rc1"])
def test_what_was_tried(release):
    vllm_releases.check(release)


@pytest.mark.parametrize("release", ["0.3", "0.28.9", "0.320.0", "1.0.0", ""])
def test_what_was_not(release):
    with pytest.raises(EngineError, match=r"vLLM .* is not supported.*SLOTWISE_MODE=off"):
        vllm_releases.check(release)


def test_no_vllm_at_all(monkeypatch):
    monkeypatch.setattr(vllm_releases, "_DISTRIBUTIONS", ("no-such-distribution",))
    with pytest.raises(EngineError, match="not installed"):
        vllm_releases.installed()
