"""Whatever the interface's description allows, or does not: no 5xx, and answers as described."""

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402

POSTS = ["/predict", "/predict/bulk", "/predict/bulk/strict", "/schedule", "/observations"]
GETS = ["/healthz", "/readyz", "/status", "/metrics"]


@pytest.fixture(scope="module")
def schema(client):
    return schemathesis.openapi.from_dict(client.get("/openapi.json").json())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", POSTS)
def test_no_fault_of_ours(client, schema, path, mode):
    """Bodies as described and bodies that are not; schemathesis compares the answers, too."""
    operation = schema[path]["POST"]
    statuses = set()

    @settings(
        max_examples=40, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def fuzz(case):
        sent = case.as_transport_kwargs(base_url="http://testserver")
        sent = {
            name: sent[name] for name in ("headers", "json", "data") if sent.get(name) is not None
        }
        if "data" in sent:
            sent["content"] = sent.pop("data")
        answer = client.request(case.method, path, **sent)
        statuses.add(answer.status_code)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["error"]["code"] == answer.status_code
        else:
            assert answer.json()

    fuzz()
    assert statuses


@pytest.mark.parametrize("path", GETS)
def test_reading_never_fails(client, path):
    assert client.get(path).status_code == 200


def test_every_operation_has_examples_and_a_description(client):
    described = client.get("/openapi.json").json()
    assert sorted(described["paths"]) == sorted([*POSTS, *GETS, "/reload"])
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert operation.get("description"), path
    bodies = ("PromptIn", "PromptsIn", "StrictPromptsIn", "ScheduleIn", "ObservationsIn")
    for path, name in zip(POSTS, bodies, strict=True):
        (example,) = described["components"]["schemas"][name]["examples"]
        assert client.post(path, json=example).status_code in (200, 202)
