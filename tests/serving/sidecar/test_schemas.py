"""Bodies are validated on the event loop: a bad one costs no more than its first fault."""

import pytest
from pydantic import ValidationError

from serving.sidecar.schemas.observation import ObservationsIn
from serving.sidecar.schemas.predict import StrictPromptsIn
from serving.sidecar.schemas.schedule import MOST_IN_ALL, MOST_REQUESTS, ScheduleIn

STEP = {"step_ms": 10, "decode_ms": 1, "prompt_token_ms": 0.1}


def engine(name, requests):
    return {"name": name, "max_num_seqs": 8, "latency": STEP, "requests": requests}


def faults(message, content):
    with pytest.raises(ValidationError) as caught:
        message.model_validate(content)
    return caught.value.errors()


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (ScheduleIn, {"instances": [engine("one", [0] * 5000)]}),
        (ScheduleIn, {"instances": [0] * 64}),
        (ScheduleIn, {"instances": [engine("one", [])], "unassigned": [0] * 5000}),
        (StrictPromptsIn, {"prompts": [0] * 5000}),
        (ObservationsIn, {"observations": [0] * 500}),
    ],
)
def test_of_a_list_of_bad_items_the_first_is_told(message, content):
    assert len(faults(message, content)) == 1


def test_too_many_requests_are_refused_before_any_is_validated():
    groups = MOST_IN_ALL // MOST_REQUESTS + 1
    bad = {"instances": [engine(str(n), [0] * MOST_REQUESTS) for n in range(groups)]}
    assert [fault["msg"] for fault in faults(ScheduleIn, bad)] == [
        f"Value error, {groups * MOST_REQUESTS} requests; at most {MOST_IN_ALL} in one body"
    ]
