"""Every route that generates is read as chats are, or at least counted."""

import pytest
from test_asgi import hints_of, metric, observations

from serving.middleware.body import CompletionBody
from serving.middleware.routes import BATCH, INVOCATIONS, MESSAGES, RESPONSES

ASK = {"role": "user", "content": "Write a function"}
BODIES = {
    RESPONSES: {"model": "m", "input": "Write a function", "max_output_tokens": 64},
    MESSAGES: {"model": "m", "max_tokens": 64, "messages": [ASK]},
    BATCH: {"model": "m", "max_tokens": 64, "messages": [[ASK]]},
    INVOCATIONS: {"model": "m", "max_tokens": 64, "messages": [ASK]},
}
HEADERS = {
    "x-llm-d-inference-objective": "chat",
    "x-llm-d-slo-ttft-ms": "700",
    "x-vllm-priority": "3",
}
UNTOUCHED = "slotwise_untouched_requests_total"


@pytest.mark.parametrize("path", BODIES)
def test_slo_priority_and_forecast_reach_the_scheduler_on_each_route(serve, tmp_path, path):
    with serve() as (client, fake):
        assert client.post(path, json=BODIES[path], headers=HEADERS).status_code == 200
        assert metric(client, UNTOUCHED) == 0
    hints = hints_of(fake.seen[0])
    assert (hints.slo_class, hints.slo.ttft_s, hints.priority) == ("chat", 0.7, 3)
    assert 1 <= hints.lengths.mean <= 64
    assert hints.lengths.edges[-1] <= 64
    (row,) = observations(tmp_path)
    assert (row["slo_class"], row["output_tokens"], row["input_tokens"]) == ("chat", 5, 3)


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
def test_what_no_answer_would_show_is_never_shed(serve, path):
    with serve() as (client, fake):
        headers = {"x-llm-d-inference-objective": "impatient"}
        client.post(path, json=BODIES[path], headers=headers)
    assert not hints_of(fake.seen[0]).sheddable


def test_events_before_the_first_token_do_not_count_as_one(serve, tmp_path):
    with serve() as (client, _):
        client.post(RESPONSES, json={**BODIES[RESPONSES], "tokens": 9, "stream": True})
    (row,) = observations(tmp_path)
    assert row["output_tokens"] == 9
    assert row["ttft_s"] >= 0.2


@pytest.mark.parametrize(
    ("path", "body", "texts"),
    [
        (RESPONSES, {"input": "Hi"}, ("Hi",)),
        (RESPONSES, {"input": [{"role": "user", "content": "Hi"}]}, ("Hi",)),
        (
            RESPONSES,
            {
                "input": [
                    {"type": "message", "role": "user", "content": [
                        {"type": "input_text", "text": "Look:"},
                        {"type": "input_image", "image_url": "data:"},
                        {"type": "input_text", "text": "what is it?"},
                    ]},
                    {"type": "function_call_output", "call_id": "1", "output": "7"},
                ]
            },
            ("Look:\nwhat is it?",),
        ),
        (RESPONSES, {"input": []}, ("",)),
        (RESPONSES, {"input": 7}, None),
        (RESPONSES, {"messages": [ASK]}, None),
        (
            MESSAGES,
            {"system": "Be brief.", "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            ]},
            ("Hi",),
        ),
        (
            MESSAGES,
            {"messages": [{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [
                    {"type": "text", "text": "7 degrees"}
                ]},
                {"type": "text", "text": "And now?"},
            ]}]},
            ("7 degrees\nAnd now?",),
        ),
        (MESSAGES, {"messages": "Hi"}, None),
        (BATCH, {"messages": [[ASK], [{"role": "user", "content": "b"}]]},
         ("Write a function", "b")),
        (BATCH, {"messages": [ASK]}, None),
        (INVOCATIONS, {"messages": [ASK]}, ("Write a function",)),
        (INVOCATIONS, {"prompt": ["a", "b"]}, ("a", "b")),
        (INVOCATIONS, {"input": "an embedding"}, None),
    ],
)  # fmt: skip
def test_the_text_of_each_form(path, body, texts):
    import json

    read = CompletionBody.parse(json.dumps(body).encode(), path=path)
    assert (None if read is None else read.texts) == texts


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/inference/v1/generate", "/inference/v1/generate"),
        ("/cohere/v2/chat", "/cohere/v2/chat"),
        ("/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        # Nobody knows this route; by vLLM's own count it generated.
        ("/plugin/v1/write", "other"),
    ],
)
def test_what_generates_and_is_not_read_is_counted(no_predictor, path, label):
    client, fake = no_predictor
    assert client.post(path, json={"token_ids": [1, 2]}, headers=HEADERS).status_code == 200
    assert fake.seen[-1] == {"token_ids": [1, 2]}
    assert metric(client, f'{UNTOUCHED}{{route="{label}"}}') == 1
    assert metric(client, UNTOUCHED) == 1


def test_what_does_not_generate_is_not_counted(no_predictor):
    client, _ = no_predictor
    for path in ("/v1/messages/count_tokens", "/v1/embeddings"):
        assert client.post(path, json={"input": "Hi", "tokens": 0}).status_code == 200
    # A route that is switched off.
    assert client.post("/inference/v1/generate", json={"status": 403}).status_code == 403
    assert metric(client, UNTOUCHED) == 0


def test_an_invocation_that_is_no_completion_is_counted_as_unread(no_predictor):
    client, fake = no_predictor
    client.post(INVOCATIONS, json={"input": "Hi"})
    assert fake.seen[-1] == {"input": "Hi"}
    assert metric(client, f'{UNTOUCHED}{{route="{INVOCATIONS}"}}') == 1
