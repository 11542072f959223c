"""What requests say of their length, by the fields that vLLM reads on each route."""

from types import SimpleNamespace

import pytest
from test_asgi import CHAT, HI, PROMPTS, hints_of, metric, observations

from predictor.output_limits import OutputLimits
from serving.middleware.routes import COMPLETIONS, MESSAGES, RESPONSES
from serving.middleware.stated_limits import EngineDefaults, stated_limits

NOTHING = OutputLimits()


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        (CHAT, {}, NOTHING),
        (CHAT, {"max_tokens": 9, "max_completion_tokens": 5}, OutputLimits(max_tokens=5)),
        (CHAT, {"max_tokens": 9.0}, OutputLimits(max_tokens=9)),
        (CHAT, {"max_tokens": "9"}, OutputLimits(max_tokens=9)),
        (CHAT, {"max_tokens": -9, "min_tokens": True}, NOTHING),
        (CHAT, {"max_tokens": 9, "max_output_tokens": 5}, OutputLimits(max_tokens=9)),
        (
            CHAT,
            {"max_tokens": 9, "min_tokens": 4, "ignore_eos": True, "stop": ["x"]},
            OutputLimits(max_tokens=9, min_tokens=4, ignore_eos=True, stops=True),
        ),
        # vLLM writes 16 tokens of a completion that names no limit.
        (COMPLETIONS, {}, OutputLimits(max_tokens=16)),
        (COMPLETIONS, {"max_tokens": None}, OutputLimits(max_tokens=16)),
        (COMPLETIONS, {"max_tokens": 9, "max_completion_tokens": 5}, OutputLimits(max_tokens=9)),
        (RESPONSES, {"max_output_tokens": 9, "max_tokens": 5}, OutputLimits(max_tokens=9)),
        (RESPONSES, {"ignore_eos": True, "min_tokens": 5}, OutputLimits(ignore_eos=True)),
        (MESSAGES, {"max_tokens": 9, "ignore_eos": True}, OutputLimits(max_tokens=9)),
    ],
)
def test_each_route_has_its_own_fields(kind, fields, wanted):
    assert stated_limits(kind, fields) == wanted


@pytest.mark.parametrize(
    ("kind", "fields", "most"),
    [
        (CHAT, {}, 300),
        (CHAT, {"max_tokens": 400}, 400),
        (CHAT, {"max_tokens": 4000}, 511),
        (COMPLETIONS, {"prompt": [1] * 500, "max_tokens": 100}, 12),
        (COMPLETIONS, {"prompt": [[1] * 500, [1] * 490], "max_tokens": 100}, 22),
    ],
)
def test_what_is_left_out_is_the_engines(kind, fields, most):
    chat = SimpleNamespace(
        default_sampling_params={"max_tokens": 300},
        override_max_tokens=None,
        model_config=SimpleNamespace(max_model_len=512),
    )
    app = SimpleNamespace(state=SimpleNamespace(openai_serving_chat=chat))
    engine = EngineDefaults.of(app)
    assert stated_limits(kind, fields, engine).max_tokens == most
    chat.override_max_tokens = 10
    assert stated_limits(kind, fields, EngineDefaults.of(app)).max_tokens == 10


@pytest.mark.parametrize("app", [None, object(), SimpleNamespace(state=SimpleNamespace())])
def test_of_another_server_nothing_is_known(app):
    assert EngineDefaults.of(app) == EngineDefaults()


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ({"max_tokens": 400, "ignore_eos": True}, 400, 400),
        ({"max_tokens": 400, "min_tokens": 400, "stop": "\n"}, 400, 400),
        ({"max_tokens": 400, "min_tokens": 300}, 300, 400),
        ({"max_tokens": 400, "min_tokens": 60}, 60, 104),
    ],
)
def test_a_forced_length_is_forecast_and_judges_and_teaches_nothing(
    serve, tmp_path, asked, least, most
):
    with serve() as (client, fake):  # answers have 1 to 100 tokens by themselves
        services = client.app._services
        for _ in range(64):
            assert client.post(CHAT, json={**HI, **asked, "tokens": 400}).status_code == 200
        assert not services.priors.learned
        assert metric(client, "slotwise_prediction_pit_count") == 0
        assert metric(client, "slotwise_slo_requests_total") == 64
    lengths = hints_of(fake.seen[0]).lengths
    assert lengths.cdf(least - 1) == 0.0
    assert lengths.cdf(most) == 1.0
    row = observations(tmp_path)[0]
    assert (row["pit"], row["natural"]) == (None, 0)
    assert least <= row["predicted_mean"] <= most


def test_a_length_that_the_model_chooses_judges_and_teaches(serve, tmp_path):
    with serve() as (client, _):
        for _ in range(64):
            client.post(CHAT, json={**HI, "max_tokens": 400, "min_tokens": 1, "tokens": 40})
        assert client.app._services.priors.learned
        assert metric(client, "slotwise_prediction_pit_count") == 64
    row = observations(tmp_path)[0]
    assert row["natural"] == 1
    assert 0.3 < row["pit"] < 0.5


def test_nobody_forecasts_what_is_forced(serve):
    with serve() as (client, _):
        client.post(CHAT, json={**HI, "max_tokens": 40, "ignore_eos": True})
        assert metric(client, "slotwise_predictions_total") == 0


def test_a_completion_without_a_limit_is_cut_where_vllm_cuts_it(serve):
    with serve() as (client, fake):
        client.post(PROMPTS, json={"prompt": "Hi"})
    assert hints_of(fake.seen[0]).lengths.edges[-1] == 16
