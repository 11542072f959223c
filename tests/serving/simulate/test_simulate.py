import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import t as student

from predictor.errors import InputError
from scheduler.registry import PolicyName
from scheduler.simulator.profiles import load_profile
from serving.report.seeds import combined, interval
from serving.simulate.capacity import Search, run_capacity
from serving.simulate.config import SimConfig
from serving.simulate.engines import engine_profiles, run_policy
from serving.simulate.forecast import ForecastKind, Length, from_history, from_noise
from serving.simulate.run import run_simulation
from serving.simulate.workload import SimWorkload

PROFILE = "h100-llama-3.1-8b"


def quiet():
    return Console(file=io.StringIO(), width=200)


def write_trace(path, count=120, *, seed=0, gap_s=0.02):
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.exponential(gap_s, count))
    rows = [
        f"{t:.4f},{rng.integers(5, 900)},{min(int(rng.lognormal(4.5, 1.0)) + 1, 2000)}" for t in at
    ]
    path.write_text("t_s,input_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def traces(tmp_path):
    return tuple(
        f"{name}={write_trace(tmp_path / f'{name}.csv', seed=k)}"
        for k, name in enumerate(("code", "chat"))
    )


@pytest.fixture
def config(traces, tmp_path):
    def make(**changes):
        fields = {
            "policies": ("fcfs", "slotwise-oracle"),
            "instances": (PROFILE,),
            "traces": traces,
            "num_requests": 40,
            "seeds": 2,
            "max_num_seqs": 4,
            "output": tmp_path / "out" / "result.json",
        }
        return SimConfig(**{**fields, **changes})

    return make


def lognormal(count, seed=0, *, slo_class="chat", mean=5.0, spread=1.0):
    tokens = np.random.default_rng(seed).lognormal(mean, spread, count)
    return [Length(slo_class, max(round(n), 1)) for n in tokens]


def facts(distribution):
    return distribution.edges.tolist(), distribution.probabilities.tolist()


@pytest.mark.parametrize(
    ("text", "name", "sigma"),
    [("oracle", "oracle", 0.0), ("history", "history", 0.0), ("noise:0.5", "noise", 0.5)],
)
def test_forecasts_by_name(text, name, sigma):
    assert ForecastKind.parse(text) == ForecastKind(name, sigma)


@pytest.mark.parametrize("text", ["guess", "noise", "noise:", "noise:-1", "noise:nan", "oracle:1"])
def test_an_unknown_forecast_is_named(text):
    with pytest.raises(InputError, match=f"forecast '{text}' is not known"):
        ForecastKind.parse(text)


@pytest.mark.parametrize("place", [10, 31, 255])
def test_history_knows_only_earlier_requests(place):
    lengths = [*lognormal(300), Length("chat", 9000)]
    other = [*lengths[:place], *lognormal(300 - place, seed=9, mean=7.0, spread=0.1), lengths[-1]]
    told, told_other = from_history(lengths), from_history(other)
    assert [facts(one) for one in told[: place + 1]] == [
        facts(one) for one in told_other[: place + 1]
    ]
    assert facts(told[-1]) != facts(told_other[-1])


def test_history_learns_each_class_apart():
    short, long = lognormal(200, mean=2.0, spread=0.3), lognormal(200, mean=7.0, spread=0.3)
    lengths = [
        length
        for a, b in zip(short, long, strict=True)
        for length in (a, Length("code", b.output_tokens))
    ]
    told = from_history(lengths)
    assert facts(told[0]) == facts(told[1])
    assert told[-2].quantile(0.9) < 20
    assert told[-1].quantile(0.1) > 500


def test_noise_of_zero_is_the_truth():
    lengths = lognormal(50)
    told = from_noise(lengths, 0.0, np.random.default_rng(0))
    assert [one.mean for one in told] == [length.output_tokens for length in lengths]
    assert all(one.std == 0 for one in told)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_noisy_forecasts_are_calibrated(sigma):
    lengths = lognormal(2000)
    told = from_noise(lengths, sigma, np.random.default_rng(1))
    for level, low, high in ((0.9, 0.8, 0.97), (0.5, 0.42, 0.6)):
        covered = np.mean(
            [
                length.output_tokens <= one.quantile(level)
                for length, one in zip(lengths, told, strict=True)
            ]
        )
        assert low < covered < high


def test_more_noise_tells_less():
    lengths = lognormal(500)

    def error(sigma):
        told = from_noise(lengths, sigma, np.random.default_rng(1))
        return np.mean(
            [
                abs(np.log(one.quantile(0.5) / length.output_tokens))
                for length, one in zip(lengths, told, strict=True)
            ]
        )

    assert error(0.1) < 0.5 * error(0.5) < 0.5 * error(3.0)


def figures(ttft, requests=5, **more):
    return {"requests": requests, "p50_ttft_s": ttft, "error": None, **more}


def test_means_over_seeds_with_their_intervals():
    runs = [
        figures(value, added={"p99": 2 * value}, classes={"chat": figures(10 * value)})
        for value in (1.0, 2.0, 6.0)
    ]
    found = combined(runs)
    assert found["p50_ttft_s"] == 3.0
    assert found["added"] == {"p99": 6.0}
    assert found["requests"] == 5
    assert isinstance(found["requests"], int)
    assert found["error"] is None
    half = student.ppf(0.975, 2) * np.std([1.0, 2.0, 6.0], ddof=1) / np.sqrt(3)
    assert found["interval_95"] == {"p50_ttft_s": pytest.approx([3 - half, 3 + half])}
    of_class = found["classes"]["chat"]
    assert of_class["p50_ttft_s"] == 30.0
    assert of_class["interval_95"]["p50_ttft_s"] == pytest.approx([30 - 10 * half, 30 + 10 * half])


def test_one_run_has_no_interval():
    run = figures(1.5, classes={"chat": figures(2.0)})
    assert combined([run]) == run


def test_a_figure_that_some_run_lacks_is_none():
    found = combined([figures(1.0), figures(None)])
    assert found["p50_ttft_s"] is None
    assert found["interval_95"] == {}


def test_counts_that_differ_become_their_mean():
    assert combined([figures(1.0, requests=4), figures(1.0, requests=7)])["requests"] == 5.5


def test_the_interval_of_equal_values_is_the_value():
    assert interval([0.25] * 4) == [0.25, 0.25]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policies": ()}, "name at least one"),
        ({"policies": ("fcfs", "fcfs")}, "each once"),
        ({"instances": ()}, "--engine-profile"),
        ({"traces": ()}, "one of the two"),
        ({"workload": "sharegpt-code-chat"}, "one of the two"),
        ({"traces": (), "workload": "sharegtp"}, "'sharegtp' is not known"),
        ({"rate_scale": 0.0}, "positive"),
        ({"rate": float("nan")}, "positive"),
        ({"placement": "best"}, "'best' is not known"),
        ({"forecast": "guess"}, "'guess' is not known"),
    ],
)
def test_a_wrong_setting_is_named(config, changes, words):
    with pytest.raises(InputError, match=words):
        config(**changes)


def test_forecasts_default_to_what_the_source_allows(config):
    assert config().forecast_kind == "history"
    assert config(traces=(), workload="sharegpt-code-chat").forecast_kind == "predicted"
    with pytest.raises(InputError, match="needs prompts"):
        SimWorkload(config(forecast="predicted"), quiet())


def test_traces_are_merged_by_time_and_know_their_class(config):
    requests = SimWorkload(config(num_requests=None), quiet()).requests(0, oracle=True)
    assert len(requests) == 240
    arrivals = [request.arrival_s for request in requests]
    assert arrivals == sorted(arrivals)
    assert {(r.slo_class, r.slo.e2e_s, r.priority) for r in requests} == {
        ("code", 30.0, 0),
        ("chat", None, 1),
    }
    assert all(r.lengths.mean == r.output_tokens for r in requests)


def test_a_class_that_is_none_is_named(config, tmp_path):
    with pytest.raises(InputError, match="class 'cdoe' is not one of code, chat"):
        SimWorkload(config(traces=(f"cdoe={tmp_path / 'code.csv'}",)), quiet())


def test_each_seed_replays_a_stretch_of_the_trace(config):
    workload = SimWorkload(config(), quiet())
    whole = SimWorkload(config(num_requests=None), quiet()).requests(0, oracle=True)
    names = [request.request_id for request in whole]
    starts = set()
    for seed in range(5):
        part = workload.requests(seed, oracle=True)
        start = names.index(part[0].request_id)
        starts.add(start)
        assert [r.request_id for r in part] == names[start : start + 40]
        assert part[0].arrival_s == 0.0
        span_s = whole[start + 39].arrival_s - whole[start].arrival_s
        assert part[-1].arrival_s == pytest.approx(span_s)
    assert len(starts) > 2


def test_the_rate_scale_makes_arrivals_more_frequent(config):
    plain = SimWorkload(config(), quiet()).requests(0, oracle=True)
    denser = SimWorkload(config(rate_scale=4.0), quiet()).requests(0, oracle=True)
    assert [r.arrival_s for r in denser] == pytest.approx([r.arrival_s / 4 for r in plain])
    asked = SimWorkload(config(), quiet()).requests(0, oracle=True, scale=4.0)
    assert [r.arrival_s for r in asked] == [r.arrival_s for r in denser]


def test_configured_limits_take_the_place_of_the_profiles(config):
    (own,) = engine_profiles(config(max_num_seqs=None))
    assert own.limits == load_profile(PROFILE).limits
    (changed,) = engine_profiles(config(max_num_seqs=3, kv_tokens=1600))
    assert (changed.limits.max_num_seqs, changed.limits.kv_tokens) == (3, 1600)
    assert changed.memory_bound


def test_a_run_records_every_request_with_its_forecast(config):
    made = config(forecast="history")
    requests = SimWorkload(made, quiet()).requests(0, oracle=False)
    run = run_policy(PolicyName.parse("fcfs"), engine_profiles(made), requests)
    assert {r.request_id for r in run.records} == {r.request_id for r in requests}
    told = {r.request_id: r.lengths.quantile(0.9) for r in requests}
    for record in run.records:
        assert record.status == "ok"
        assert record.predicted_p90_tokens == told[record.request_id]
        if record.slo_class == "code":
            assert record.met == (record.e2e_s <= 30.0)
    assert run.duration_s == max(r.arrival_s + r.e2e_s for r in run.records)
    assert max(step.running for step in run.steps) == 4


def test_a_simulation_writes_its_result_and_report(config):
    made = config()
    run_simulation(made, quiet())
    result = json.loads(made.output.read_text())
    assert set(result) == {"config", "policies", "requests", "queue"}
    assert set(result["policies"]) == {"fcfs", "slotwise-oracle"}
    assert result["config"]["seeds"] == 2
    assert result["config"]["forecast"] == "history"
    for name, of_policy in result["policies"].items():
        assert of_policy["requests"] == 40
        assert set(of_policy["classes"]) == {"code", "chat"}
        low, high = of_policy["interval_95"]["mean_e2e_s"]
        assert low < of_policy["mean_e2e_s"] < high
        for of_class in of_policy["classes"].values():
            assert "interval_95" in of_class
        assert len([row for row in result["requests"] if row["policy"] == name]) == 40
        assert result["queue"][name]
    assert "<html" in made.output.with_name("report.html").read_text()


def test_the_same_simulation_writes_the_same_bytes(config, tmp_path):
    first, second = config(), config()
    run_simulation(first, quiet())
    before = first.output.read_bytes()
    first.output.unlink()
    run_simulation(second, quiet())
    assert second.output.read_bytes() == before
    run_simulation(config(seed=1), quiet())
    assert second.output.read_bytes() != before


def test_several_instances_share_the_requests(config):
    def p90(instances):
        made = config(instances=instances, policies=("fcfs",), placement="least-requests", seeds=1)
        run_simulation(made, quiet())
        return json.loads(made.output.read_text())["policies"]["fcfs"]["p90_e2e_s"]

    assert p90((PROFILE,) * 3) < 0.8 * p90((PROFILE,))


def test_capacity_is_written_for_each_policy_and_seed(config, tmp_path):
    promises = tmp_path / "slo.yaml"
    promises.write_text("classes: {code: {e2e_ms: 4000}, chat: {ttft_ms: 400}}")
    made = config(policies=("fcfs", "edf"), num_requests=60, slo_config=promises)
    with pytest.raises(InputError, match=r"under every policy.*--lowest"):
        run_capacity(made, Search(violations=0.1, tolerance=0.1), quiet())
    assert not made.output.exists()
    run_capacity(made, Search(violations=0.1, tolerance=0.1, lowest=1e-3), quiet())
    result = json.loads(made.output.read_text())
    assert result["config"]["violations"] == 0.1
    for of_policy in result["policies"].values():
        assert len(of_policy["by_seed"]) == 2
        assert of_policy["capacity_rps"] == pytest.approx(np.mean(of_policy["by_seed"]))
        low, high = of_policy["interval_95"]
        assert low <= of_policy["capacity_rps"] <= high


def test_capacity_of_requests_that_come_at_once_is_refused(config, tmp_path):
    file = tmp_path / "once.csv"
    file.write_text("t_s,input_tokens,output_tokens\n" + "1,5000,1000\n" * 40)
    made = config(traces=(f"chat={file}",))
    with pytest.raises(InputError):
        run_capacity(made, Search(), quiet())
    assert not made.output.exists()


def test_all_requests_say_one_limit_that_tells_no_true_length(config, tmp_path):
    lengths = (10, 9000, 20_000)
    rows = [f"{second},100,{tokens}" for second, tokens in enumerate(lengths)]
    file = tmp_path / "long.csv"
    file.write_text("\n".join(["t_s,input_tokens,output_tokens", *rows]) + "\n")
    requests = SimWorkload(config(traces=(f"chat={file}",)), quiet()).requests(0, oracle=False)
    assert [request.output_tokens for request in requests] == list(lengths)
    assert {request.arrival().max_tokens for request in requests} == {32_768}


def test_priorities_of_classes_act_under_the_policy_priority_alone(config, monkeypatch):
    seen = {}

    def note(engines, requests, *_, **__):
        seen[engines[0].driver.policy.name] = {each.priority for each in requests}
        raise InterruptedError

    monkeypatch.setattr("serving.simulate.engines.serve", note)
    requests = SimWorkload(config(), quiet()).requests(0, oracle=False)
    for name in ("priority", "slotwise"):
        with pytest.raises(InterruptedError):
            run_policy(PolicyName.parse(name), [load_profile(PROFILE)], requests)
    assert seen == {"priority": {0, 1}, "slotwise": {0}}
