"""The benchmark scripts: what they leave in a published file."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from predictor.distribution import LengthDistribution

ROOT = Path(__file__).parent.parent / "benchmarks"
summarise = runpy.run_path(str(ROOT / "summarise.py"))["summarise"]


def test_a_published_file_holds_no_requests_and_no_paths():
    one = {
        "config": {"seed": 0, "output": "/tmp/x", "num_prompts": 2},
        "policies": {"fcfs": {"slo_attainment": 0.5, "classes": {}}, "sjf": {"classes": {}}},
        "requests": [{}],
        "queue": {},
    }
    two = {
        **one,
        "config": {"seed": 1},
        "policies": {"fcfs": {"slo_attainment": 0.7, "classes": {}}},
    }
    document = summarise([one, two])
    assert set(document) == {"config", "policies"}
    assert document["config"] == {
        "seed": 0,
        "num_prompts": 2,
        "policies": ["fcfs"],
        "seeds": [0, 1],
    }
    assert document["policies"]["fcfs"]["slo_attainment"] == pytest.approx(0.6)
    low, high = document["policies"]["fcfs"]["interval_95"]["slo_attainment"]
    assert low < 0.5
    assert high > 0.7
    by_seed = document["policies"]["fcfs"]["by_seed"]
    assert {seed: run["slo_attainment"] for seed, run in by_seed.items()} == {"0": 0.5, "1": 0.7}


def test_no_seed_is_measured_twice():
    run = {"config": {"seed": 3}, "policies": {"fcfs": {"slo_attainment": 0.5, "classes": {}}}}
    with pytest.raises(ValueError, match=r"seeds \[3, 3\]"):
        summarise([run, run])


def test_the_tables_say_medians_tails_and_every_seed():
    from benchmarks.reference_table import docs_table, readme_table
    from benchmarks.tables import replaced

    def run(attainment, p99_s):
        seconds = {"mean_e2e_s": 40.0, "p50_e2e_s": 20.0, "p90_e2e_s": p99_s - 9}
        seconds["p99_e2e_s"] = p99_s
        classes = {"code": {"slo_attainment": 0.25}, "chat": {"slo_attainment": 0.75}}
        return {"slo_attainment": attainment, **seconds, "classes": classes}

    def runs(seed, *figures):
        return {"config": {"seed": seed}, "policies": dict(zip(names, figures, strict=True))}

    names = ("fcfs", "slotwise")
    first = runs(0, run(0.2, 100.0), run(0.6, 150.0))
    document = summarise([first, runs(1, run(0.2, 110.0), run(0.8, 170.0))])
    short, long = readme_table(document), docs_table(document)
    assert "| `slotwise` | 70.0 % | 40.0 s | 20.0 s | 151.0 s | 160.0 s | 3.5x |" in short
    assert "slower: the 90th percentile is 151 s where FCFS has 96 s, the 99th is 160 s" in short
    assert "| `slotwise`, 1 | 80.0 % | 40.0 s | 20.0 s | 161.0 s | 170.0 s |" in long
    assert "| `fcfs` | 20.0 % (20 to 20) | 25 / 75 % |" in long
    page = "a\n<!-- reference: begin -->\nold\n<!-- reference: end -->\nb\n"
    assert replaced(page, "reference", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="the page needs one"):
        replaced("nothing", "reference", "new")


async def test_a_request_names_its_rule_and_its_forecast_counts_for_router_and_engine(monkeypatch):
    from benchmarks.switching_router import FORECAST, RULE, SwitchingRouter
    from serving.xargs import decode, encode

    class Seen:
        async def choose_replicas(self, candidates, pending):
            return [candidates, pending.args[0]]

    monkeypatch.setattr(SwitchingRouter, "rules", {"slo": None, "seen": Seen})
    told, forecast = LengthDistribution.point(7), LengthDistribution.point(90)
    xargs = {**encode(slo_class="chat", lengths=told), RULE: "seen", FORECAST: forecast.to_floats()}
    request = SimpleNamespace(vllm_xargs=xargs)
    router = object.__new__(SwitchingRouter)
    chosen = await router.choose_replicas(["a"], SimpleNamespace(args=[request]))
    assert chosen == [["a"], request]
    assert decode(request.vllm_xargs).lengths.mean == forecast.mean


def test_the_step_limit_that_lasts_longest_is_chosen():
    from benchmarks.step_limits import longest

    def violations(limit, rps):
        holds_to = {128: 0.4, 256: 2.0, 384: 2.0, 512: 1.0}[limit]
        return 0.0 if rps <= holds_to else 0.5 + 1 / limit

    chosen, held = longest([128, 256, 384, 512], violations, 0.5)
    assert chosen == 384  # as long as 256, and fewer violations where both end
    assert held[128] == 0.0
    assert 0.8 < held[512] <= 1.0 < held[256] == held[384] <= 2.0
    # Where nobody holds at the first rate the scan begins lower.
    assert longest([128, 512], violations, 8.0)[0] == 512


def test_a_rival_has_the_step_limit_of_the_workload(tmp_path):
    from argparse import Namespace

    from benchmarks.published import Experiments

    limits = tmp_path / "limits.json"
    limits.write_text('{"step_limit": {"mixed-v1": {"qoserve": 256, "slidingserve": 384}}}')
    asked = Namespace(
        policies="qoserve",
        step_limits=limits,
        seeds=2,
        merge=False,
        output=tmp_path / "out.json",
        engine_profile="l40s-llama-3.1-8b",
        num_requests=10,
    )
    experiments = Experiments(asked)
    assert experiments.limited("qoserve", "mixed-v1") == "qoserve@256"
    assert experiments.limited("slidingserve[chunker]", "mixed-v1") == "slidingserve[chunker]@384"
    assert experiments.limited("qoserve", "sharegpt") == "qoserve"
    assert experiments.limited("slotwise", "mixed-v1") == "slotwise"


def test_the_published_tables_name_limits_and_ratios():
    from benchmarks.published_table import docs_table, readme_table, wave_table

    def figures(policy, *rates):
        mean = sum(rates) / len(rates)
        by_seed = list(rates)
        bounds = [mean - 1, mean + 1]
        found = {"policy": policy, "capacity_rps": mean, "interval_95": bounds}
        return {**found, "by_seed": by_seed, "commit": "abc"}

    capacity = {
        "slotwise": figures("slotwise", 2.0, 4.0),
        "qoserve": figures("qoserve@256", 1.0, 4.0),
        "sarathi-edf": figures("sarathi-edf@256", 0.0, 2.0),
        "slidingserve": figures("slidingserve@384", 0.0, 0.0),
    }
    shares = {"mean": 0.25, "interval_95": [0.2, 0.3], "policy": "qoserve@512"}
    document = {
        "capacity": {"sharegpt": capacity, "mixed-v1": {"slotwise": capacity["slotwise"]}},
        "config": {"seeds": 2, "num_requests": 10},
        "limit_rps": {"sharegpt": 9.0},
        "square_wave": {"violations": {"qoserve": shares}},
    }
    assert "| `qoserve` | 2.50/s |" in readme_table(document).splitlines()
    lines = docs_table(document).splitlines()
    assert "| `qoserve` | 2.50 (1.50 to 3.50) @256 |" in lines
    assert "| `slotwise` over `qoserve`, paired | 1.50 (1.00 to 2.00) |" in lines
    assert "| `slotwise` over `sarathi-edf`, paired | 2.00 (2.00 to 2.00) |" in lines
    assert "| `slotwise` over `slidingserve`, paired | - |" in lines
    assert lines[-1].endswith("Code: abc.")
    assert "| `qoserve@512` | 25.0 % (20.0 to 30.0) | 51 % |" in wave_table(document)
