import json

import pytest

from predictor.distribution import LengthDistribution


def test_a_forecast_says_everything(client):
    answer = client.post("/predict", json={"prompt": "hi", "slo_class": "chat"})
    assert answer.status_code == 200
    told = answer.json()
    assert told["osl"] == 51
    assert told["mean"] == pytest.approx(50.5, abs=1)
    assert told["quantiles"]["0.9"] == pytest.approx(90, abs=3)
    assert told["source"] == "model"
    assert told["model"]["name"] == "history"
    assert len(told["model"]["version"]) == 12
    assert LengthDistribution.from_floats(told["lengths"]).mean == pytest.approx(50.5, abs=1)


def test_max_tokens_cuts_the_forecast(client):
    told = client.post("/predict", json={"prompt": "hi", "slo_class": "code", "max_tokens": 9})
    assert told.json()["osl"] == 9


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ({"max_tokens": 400, "ignore_eos": True}, 400, 400),
        ({"max_tokens": 400, "min_tokens": 400}, 400, 400),
        ({"max_tokens": 400, "min_tokens": 300}, 300, 400),
        ({"min_tokens": 90}, 90, 104),
    ],
)
def test_a_length_that_the_request_forces_is_forecast(client, asked, least, most):
    prompt = {"prompt": "hi", "slo_class": "chat", **asked}
    one = client.post("/predict", json=prompt).json()
    (many,) = client.post("/predict/bulk", json={"prompts": [prompt]}).json()["predictions"]
    assert many["lengths"] == one["lengths"]
    lengths = LengthDistribution.from_floats(one["lengths"])
    assert lengths.cdf(least - 1) == 0.0
    assert lengths.cdf(most) == 1.0
    assert least <= one["osl"] <= most


def test_bulk_answers_what_it_can(client):
    prompts = [{"prompt": "a"}, {"promt": "b"}, 7, {"prompt": "c", "max_tokens": 0}, {"prompt": ""}]
    answer = client.post("/predict/bulk", json={"prompts": prompts})
    assert answer.status_code == 200
    told = answer.json()
    assert [found is None for found in told["predictions"]] == [False, True, True, True, False]
    assert [error["index"] for error in told["errors"]] == [1, 2, 3]
    assert "max_tokens" in told["errors"][2]["error"]
    assert told["model"]["kind"] == "history"


def test_bulk_where_nothing_is_right(client):
    told = client.post("/predict/bulk", json={"prompts": [1, 2]}).json()
    assert told["predictions"] == [None, None]
    assert len(told["errors"]) == 2


def test_strict_bulk_refuses_all(client):
    answer = client.post(
        "/predict/bulk/strict", json={"prompts": [{"prompt": "a"}, {"prompt": "b", "x": 1}]}
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "prompts.1.x"
    good = client.post("/predict/bulk/strict", json={"prompts": [{"prompt": "a"}] * 200})
    assert len(good.json()["predictions"]) == 200


@pytest.mark.parametrize("path", ["/predict/bulk", "/predict/bulk/strict"])
@pytest.mark.parametrize("count", [0, 10_001])
def test_one_to_ten_thousand_items(client, path, count):
    answer = client.post(path, json={"prompts": [{"prompt": "a"}] * count})
    assert answer.status_code == 422


def test_a_monstrous_prompt_is_refused(client):
    long = {"prompt": "x" * 200_001}
    assert client.post("/predict", json=long).status_code == 422
    assert client.post("/predict/bulk/strict", json={"prompts": [long]}).status_code == 422
    told = client.post("/predict/bulk", json={"prompts": [long, {"prompt": "a"}]}).json()
    assert told["predictions"][0] is None
    assert told["predictions"][1] is not None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{nope", 400),
        (b"", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"prompt": "\\ud800"}', 400),
        (b'{"prompt": 5}', 422),
        (b'{"prompt": "a", "max_tokens": 1e400}', 400),
        (b'{"prompt": "a", "max_tokens": 99999999999999999999}', 422),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
    ],
)
def test_bad_bodies(client, body, status):
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == status


def test_errors_do_not_repeat_the_prompt(client):
    answer = client.post("/predict", json={"prompt": "my secret", "max_tokens": "my secret"})
    assert answer.status_code == 422
    assert "my secret" not in answer.text


def test_what_was_answered_is_counted(client):
    def count() -> float:
        text = client.get("/metrics").text
        (line,) = [
            x
            for x in text.splitlines()
            if x.startswith('slotwise_predictions_total{source="model"}')
        ]
        return float(line.split()[-1])

    before = count()
    client.post("/predict", json={"prompt": "a"})
    client.post("/predict/bulk", json={"prompts": [{"prompt": "a"}] * 3})
    assert count() == before + 4


def test_answers_are_one_json_object(client):
    answer = client.post("/predict/bulk", json={"prompts": [{"prompt": "a"}]})
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content)


def test_an_item_with_a_hundred_thousand_keys_is_one_fault(client):
    items = [{"prompt": "x", **{str(n): 0 for n in range(100_000)}}, {"prompt": "x"}, 7]
    told = client.post("/predict/bulk", json={"prompts": items}).json()
    assert [each is None for each in told["predictions"]] == [True, False, True]
    assert "100001 keys; known are: prompt" in told["errors"][0]["error"]
    assert told["errors"][1]["index"] == 2
