"""A policy of the user's inside vLLM's scheduler."""

import sys

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

POLICY = """
from scheduler.policies.ordered import OrderedPolicy, by_deadline

class Mine(OrderedPolicy):
    def __init__(self):
        super().__init__("mine", by_deadline)
"""


def test_the_engine_imports_it_from_the_folder_it_is_told(make_scheduler, monkeypatch, tmp_path):
    (tmp_path / "policy_in_an_engine.py").write_text(POLICY)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("SLOTWISE_POLICY_FOLDER", str(tmp_path))
    scheduler = make_scheduler("policy_in_an_engine:Mine")
    assert scheduler.driver.policy.name == "mine"
