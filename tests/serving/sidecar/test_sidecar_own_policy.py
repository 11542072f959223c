"""Whoever runs the sidecar may name a policy class; a client may not."""

import sys

import pytest
from fastapi.testclient import TestClient
from sidecars import settings_in

from predictor.errors import UnknownPolicyError
from serving.sidecar.app import create_app

STEP = {"step_ms": 10, "decode_ms": 1, "prompt_token_ms": 0.1}
WAITING = {"waited_ms": 0, "prompt_tokens": 100, "lengths": [0, 10, 20, 0.5, 0.5]}
ENGINE = {
    "name": "one",
    "max_num_seqs": 8,
    "latency": STEP,
    "requests": [{"id": name, **WAITING} for name in ("a", "b", "c")],
}
REVERSED = """
from scheduler import StepDecision

class Reversed:
    name = "reversed"
    def plan(self, snapshot, previous):
        return None
    def step(self, snapshot, plan):
        return StepDecision(order=snapshot.waiting.handle[::-1])
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "served_by_the_operator.py").write_text(REVERSED)
    (tmp_path / "sent_by_a_client.py").write_text(REVERSED)
    yield tmp_path
    for name in ("served_by_the_operator", "sent_by_a_client"):
        sys.modules.pop(name, None)


def schedule(client, policy=None):
    return client.post("/schedule", json={"policy": policy, "instances": [ENGINE]})


def test_the_operators_class_decides(folder):
    name = "served_by_the_operator:Reversed"
    with TestClient(create_app(settings_in(folder, policy=name, policy_folder=folder))) as client:
        for asked in (None, name):
            answer = schedule(client, asked).json()
            assert answer["policy"] == name
            assert answer["instances"][0]["order"] == ["c", "b", "a"]
            assert not answer["instances"][0]["fallback"]


@pytest.mark.parametrize("ending", ["", "@64", "-oracle"])
def test_a_client_makes_nobody_import_anything(folder, ending):
    operator = "served_by_the_operator:Reversed"
    settings = settings_in(folder, policy=operator, policy_folder=folder)
    with TestClient(create_app(settings)) as client:
        answer = schedule(client, f"sent_by_a_client:Reversed{ending}")
        assert answer.status_code == 422
        assert "a request may name a built-in policy alone" in answer.json()["error"]["message"]
        assert "sent_by_a_client" not in sys.modules
        assert schedule(client, "edf").status_code == 200


def test_a_class_that_is_not_there_is_said_before_anything_starts(folder):
    with pytest.raises(UnknownPolicyError, match="did you mean 'Reversed'"):
        create_app(
            settings_in(folder, policy="served_by_the_operator:Reverse", policy_folder=folder)
        )
