"""Headers over body over class; what cannot be read is ignored and named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.slo import Slo
from serving.middleware.promise import promise_of, vllm_priority
from serving.slo_classes import ClassTable
from serving.slo_config import ClassTargets, SloConfig

CLASSES = ClassTable(
    SloConfig(
        classes={
            "chat": ClassTargets(ttft_ms=5000, tpot_ms=100, priority=1),
            "code": ClassTargets(e2e_ms=30_000),
        },
        default_class="chat",
    )
)


def read(headers=None, **body):
    raw = [(k.encode(), str(v).encode()) for k, v in (headers or {}).items()]
    return promise_of(raw, body, CLASSES)


def test_without_a_word_it_is_the_default_class():
    promise = read()
    assert promise.slo_class.name == "chat"
    assert promise.slo == Slo(ttft_s=5.0, tpot_s=0.1)
    assert (promise.priority, promise.ignored) == (1, ())


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-llm-d-inference-objective": "code"}, {}),
        ({}, {"service_tier": "code"}),
        ({}, {"vllm_xargs": {"slotwise_class": "code"}}),
        ({"x-llm-d-inference-objective": "code"}, {"service_tier": "chat"}),
    ],
)
def test_a_class_by_name(headers, body):
    promise = read(headers, **body)
    assert promise.slo_class.name == "code"
    assert promise.slo == Slo(e2e_s=30.0)


def test_a_class_by_the_older_header_and_the_canonical_one_wins():
    old, new = "x-gateway-inference-objective", "x-llm-d-inference-objective"
    assert read({old: "code"}).slo_class.name == "code"
    assert read({old: "chat", new: "code"}).slo_class.name == "code"
    promise = read({old: "code", new: "platinum"})
    assert (promise.slo_class.name, promise.ignored) == ("code", ("class",))
    assert read({old: "platinum"}).ignored == ("class",)


def test_headers_change_single_targets_of_the_class():
    promise = read({"x-llm-d-slo-ttft-ms": 250, "x-slo-e2e-ms": "9000.5"})
    assert promise.slo == Slo(ttft_s=0.25, tpot_s=0.1, e2e_s=9.0005)


def test_the_canonical_header_wins_over_the_deprecated_one():
    both = {"x-slo-tpot-ms": 70, "x-llm-d-slo-tpot-ms": 30}
    assert read(both).slo.tpot_s == 0.03
    assert read({"x-slo-tpot-ms": 70}).slo.tpot_s == 0.07


def test_no_time_left_is_a_promise_all_the_same():
    assert 0 < read({"x-llm-d-slo-ttft-ms": 0}).slo.ttft_s < 1e-5


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "", "1e999", "0x10"])
def test_a_header_that_makes_no_sense_is_ignored_and_named(value):
    promise = read({"x-llm-d-slo-ttft-ms": value})
    assert promise.slo.ttft_s == 5.0
    assert promise.ignored == ("ttft",)


def test_a_class_nobody_knows_is_ignored_and_the_usual_tiers_are_no_class():
    promise = read({"x-llm-d-inference-objective": "platinum"}, service_tier="auto")
    assert read(service_tier="standard_only").ignored == ()
    assert promise.slo_class.name == "chat"
    assert promise.ignored == ("class",)


def test_a_clients_own_slo_in_xargs_is_checked():
    assert read(vllm_xargs={"slotwise_slo_s": [1.0, -1, -1]}).slo == Slo(ttft_s=1.0)
    promise = read(vllm_xargs={"slotwise_slo_s": "now"})
    assert promise.slo == Slo(ttft_s=5.0, tpot_s=0.1)
    assert promise.ignored == ("xargs",)


@pytest.mark.parametrize(
    ("headers", "body", "wanted"),
    [
        ({}, {"priority": -3}, -3),
        ({"x-vllm-priority": "7"}, {"priority": -3}, 7),
        ({}, {"nvext": {"agent_hints": {"priority": 5}}}, -5),
        ({}, {"priority": 2, "nvext": {"agent_hints": {"priority": 5}}}, 2),
    ],
)
def test_priority_is_vllms_lower_first(headers, body, wanted):
    promise = read(headers, **body)
    assert (promise.priority, promise.own_priority) == (wanted, wanted)


def test_a_classs_priority_is_not_the_requests_own():
    promise = read(service_tier="chat")
    assert (promise.priority, promise.own_priority) == (1, None)


@pytest.mark.parametrize("value", ["high", "1" * 30, "-" + "9" * 6000])
def test_priority_that_is_no_sensible_number_is_the_classs(value):
    promise = read({"x-vllm-priority": value})
    assert (promise.priority, promise.ignored) == (1, ("priority",))


def test_importance_and_turn_are_opposites():
    assert vllm_priority(3) < vllm_priority(0) < vllm_priority(-1)


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = ["service_tier", "priority", "nvext", "vllm_xargs", "model"]
HEADERS = ["x-llm-d-slo-ttft-ms", "x-slo-e2e-ms", "x-vllm-priority", "x-llm-d-inference-objective"]


@given(
    st.dictionaries(st.sampled_from(HEADERS), st.binary(max_size=8)),
    st.dictionaries(st.sampled_from(NAMES), anything),
)
def test_whatever_a_client_sends_nothing_raises(headers, body):
    promise_of([(k.encode(), v) for k, v in headers.items()], body, CLASSES)
