"""What the benchmark samples, predicts and sends."""

import json
import math

import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError, InputError
from scheduler.registry import PolicyName
from scheduler.slo import Slo
from serving.bench.config import BenchConfig
from serving.bench.forecast import Forecast, forecasts
from serving.bench.policy_run import PolicyTurn, Workload
from serving.bench.profile import profile_rounds, replay_of
from serving.bench.replay import NATURAL_TEMPERATURE
from serving.bench.run import _facts
from serving.bench.workload import (
    TEMPLATE_TOKENS,
    answer_limit,
    bench_requests,
    replay_requests,
    true_tokens,
)
from serving.slo_classes import OTHER, ClassTable
from serving.slo_config import DEFAULT, ClassTargets, SloConfig
from serving.xargs import decode, replay_tokens
from training.collected.known import Collected
from training.sharegpt import read_sharegpt
from training.split import split_of


class Words:
    """Counts words."""

    fingerprint = "words"

    def count(self, texts):
        import numpy as np

        return np.array([len(text.split()) for text in texts])


class Fixed:
    kind = "fixed"

    def predict(self, prompts):
        return [LengthDistribution.point(7) for _ in prompts]


@pytest.fixture
def data_set(tmp_path):
    def record(number):
        topic = "a python function" if number % 2 else "the weather today"
        return {
            "id": f"c{number}",
            "conversations": [
                {"from": "human", "value": f"please tell me about {topic} {number}"},
                {"from": "gpt", "value": "well " * (5 + number % 40)},
            ],
        }

    file = tmp_path / "sharegpt.json"
    file.write_text(json.dumps([record(number) for number in range(300)]), encoding="utf-8")
    return file


def config(data_set, **changes):
    return BenchConfig(
        **{"policies": ("fcfs",), "model": "m", "num_prompts": 12, "dataset_path": data_set}
        | changes
    )


def test_only_test_conversations_are_sampled_half_code_half_chat(data_set):
    sampled, report = bench_requests(config(data_set), Words())
    assert report.usable == 300
    assert sorted(request.slo_class for request in sampled) == ["chat"] * 6 + ["code"] * 6
    assert all(split_of(request.request_id.split("-")[1]) == "test" for request in sampled)
    assert [r.arrival_s for r in sampled] == sorted(r.arrival_s for r in sampled)


def test_long_answers_can_be_left_out(data_set):
    sampled, _ = bench_requests(config(data_set, max_output_tokens=20), Words())
    assert max(request.output_tokens for request in sampled) <= 20


def test_the_same_seed_is_the_same_workload(data_set):
    assert (
        bench_requests(config(data_set), Words())[0] == bench_requests(config(data_set), Words())[0]
    )


def test_more_requests_than_conversations_is_an_error(data_set):
    with pytest.raises(DatasetError, match="ask for fewer"):
        bench_requests(config(data_set, num_prompts=500), Words())


@pytest.mark.parametrize(
    ("policy", "mean"), [("fcfs", None), ("slotwise-oracle", "true"), ("sjf", 7.0)]
)
def test_each_policy_is_told_what_it_may_know(data_set, policy, mean):
    sampled, _ = bench_requests(config(data_set), Words())
    told = forecasts(
        PolicyName.parse(policy), sampled, Fixed(), limit=lambda _: 100,
        truth=lambda request: true_tokens(config(data_set), request, None),
    )  # fmt: skip
    for request, forecast in zip(sampled, told, strict=True):
        if mean is None:
            assert forecast == Forecast()
        else:
            assert forecast.lengths.mean == (request.output_tokens if mean == "true" else mean)
    assert all((forecast.prediction_s is not None) == (policy == "sjf") for forecast in told)


def test_stock_engines_get_nothing_of_ours(data_set):
    bench_config = config(data_set)
    sampled, _ = bench_requests(bench_config, Words())
    classes = ClassTable(DEFAULT)
    sent = replay_requests(
        bench_config, PolicyName.parse("priority"), sampled, [Forecast()] * 12, classes
    )
    assert all(not request.xargs for request in sent)
    assert {r.slo_class: r.priority for r in sent} == {"code": 0, "chat": 1}


def test_our_engines_get_class_slo_and_lengths(data_set):
    bench_config = config(data_set)
    sampled, _ = bench_requests(bench_config, Words())
    classes = ClassTable(DEFAULT)
    told = [Forecast(LengthDistribution.point(9), 0.001)] * 12
    sent = replay_requests(bench_config, PolicyName.parse("slotwise"), sampled, told, classes)
    for request in sent:
        hints = decode(request.xargs)
        assert hints.slo_class == request.slo_class
        assert hints.slo == classes.get(request.slo_class).slo
        assert hints.lengths.mean == 9
        assert request.priority == 0


def test_a_request_says_the_ordinary_limit_and_never_its_recorded_length(data_set):
    bench_config = config(data_set)
    sampled, _ = bench_requests(bench_config, Words())
    policy, told = PolicyName.parse("slotwise"), [Forecast()] * 12
    for request in replay_requests(bench_config, policy, sampled, told, ClassTable(DEFAULT)):
        body = json.loads(request.body(model="m", seed=0))
        room = bench_config.max_model_len - TEMPLATE_TOKENS - request.prompt_tokens
        assert body["max_tokens"] == room != request.recorded_tokens
        assert "min_tokens" not in body
        assert replay_tokens(body["vllm_xargs"]) == request.recorded_tokens


def test_the_engine_is_told_to_end_outputs_at_recorded_lengths(data_set, tmp_path):
    turn = PolicyTurn(
        config=config(data_set), policy=PolicyName.parse("fcfs"), model="m",
        workload=lambda _: Workload([], {}), folder=tmp_path, on_phase=print, on_event=print,
    )  # fmt: skip
    assert turn._engine_config().env["SLOTWISE_REPLAY_LENGTHS"] == "true"


def test_profiling_states_its_lengths_openly_so_that_nothing_learns_them():
    for request in replay_of(profile_rounds(4)[-1]):
        body = json.loads(request.body(model="m", seed=0))
        assert (body["max_tokens"], body["ignore_eos"]) == (request.recorded_tokens, True)
        assert "vllm_xargs" not in body


def test_classes_that_the_slo_file_does_not_have_are_its_default_class_or_none(data_set):
    bench_config = config(data_set)
    sampled, _ = bench_requests(bench_config, Words())
    policy, told = PolicyName.parse("slotwise"), [Forecast()] * 12
    for default, wanted in ((None, (OTHER, Slo())), ("batch", ("batch", Slo(e2e_s=60.0)))):
        slo_config = SloConfig(
            classes={"batch": ClassTargets(e2e_ms=60_000)}, default_class=default
        )
        sent = replay_requests(bench_config, policy, sampled, told, ClassTable(slo_config))
        hints = decode(sent[0].xargs)
        assert (hints.slo_class, hints.slo) == wanted


def test_natural_lengths_are_not_forced(data_set):
    bench_config = config(data_set, lengths="natural")
    sampled, _ = bench_requests(bench_config, Words())
    sent = replay_requests(
        bench_config, PolicyName.parse("fcfs"), sampled, [Forecast()] * 12, ClassTable(DEFAULT)
    )
    assert not any(request.force_length for request in sent)
    assert json.loads(sent[0].body(model="m", seed=0))["temperature"] == NATURAL_TEMPERATURE


def test_a_natural_answer_ends_at_the_limit_or_where_the_context_does(data_set):
    (request, *_), _ = bench_requests(config(data_set), Words())
    room = 2048 - TEMPLATE_TOKENS - request.prompt_tokens
    assert answer_limit(config(data_set, max_output_tokens=50), request) == room
    assert answer_limit(config(data_set, max_output_tokens=50, lengths="natural"), request) == 50
    natural = config(data_set, lengths="natural")
    assert answer_limit(natural, request) == room
    known = Collected("m", b"", {}, cap=30)
    assert answer_limit(natural, request, known) == 30


def test_oracles_of_natural_lengths_need_collected_ones(data_set, monkeypatch):
    with pytest.raises(InputError, match="recorded"):
        config(data_set, policies=("sjf-oracle",), lengths="natural")
    monkeypatch.setattr("serving.bench.config.known_models", lambda: ("m",))
    with pytest.raises(InputError, match="recorded"):  # lengths of another data set
        config(data_set, policies=("sjf-oracle",), lengths="natural")
    monkeypatch.setattr("serving.bench.workload.read_sharegpt", lambda _: read_sharegpt(data_set))
    wanted = config(None, policies=("sjf-oracle",), lengths="natural", num_prompts=4)
    held_out = [f"c{number}" for number in range(300) if split_of(f"c{number}") == "test"]
    known = Collected("m", b"", dict.fromkeys(held_out[:20], (10, 21)), 768)
    sampled, _ = bench_requests(wanted, Words(), known)
    assert {request.conversation_id for request in sampled} <= known.samples.keys()
    assert true_tokens(wanted, sampled[0], known) == 15.5
    assert true_tokens(wanted, sampled[0], None) == sampled[0].output_tokens
    (told, *_) = forecasts(
        PolicyName.parse("sjf-oracle"), sampled, None, limit=lambda _: 100,
        truth=lambda request: true_tokens(wanted, request, known),
    )  # fmt: skip
    assert told.lengths.mean == 16


def test_a_predictor_is_needed_only_by_policies_that_are_told_forecasts(data_set):
    assert not config(data_set, policies=("fcfs", "priority", "sjf-oracle")).needs_predictor
    assert config(data_set, policies=("fcfs", "slotwise")).needs_predictor


def test_an_infinite_rate_can_be_written_down(data_set):
    facts = _facts(config(data_set, request_rate=math.inf), DEFAULT)
    assert facts["request_rate"] == "inf"
    json.dumps(facts, allow_nan=False)


def test_profiling_shows_few_and_many_short_and_long():
    rounds = profile_rounds(16)
    assert [len(round_) for round_ in rounds] == [1, 4, 16]
    assert len({len(request.prompt.split()) for request in rounds[-1]}) == 5
