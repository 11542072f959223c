"""Attainment over seeds, one by one and in processes."""

import pytest
from rich.console import Console

from predictor.errors import InputError
from serving.simulate.attainment import attainment, attainments
from serving.simulate.config import SimConfig
from serving.simulate.workload import SimWorkload


@pytest.fixture
def config():
    return SimConfig(
        policies=("fcfs", "edf"),
        instances=("l40s-llama-3.1-8b",),
        workload="mixed-v1",
        num_requests=60,
        seeds=2,
    )


def test_the_mean_is_that_of_the_seeds(config):
    found = attainment(config, SimWorkload(config, Console(quiet=True)), "fcfs", 4.0)
    assert found["slo_attainment"] == pytest.approx(sum(found["by_seed"]) / 2)
    low, high = found["interval_95"]
    assert low <= found["slo_attainment"] <= high


def test_more_load_keeps_fewer_promises(config):
    workload = SimWorkload(config, Console(quiet=True))
    light, heavy = (attainment(config, workload, "fcfs", scale) for scale in (0.2, 20.0))
    assert light["slo_attainment"] > heavy["slo_attainment"]
    assert light["mean_e2e_s"] < heavy["mean_e2e_s"]


def test_processes_find_the_same_in_the_order_asked(config):
    workload = SimWorkload(config, Console(quiet=True))
    points = [(config, name, scale) for scale in (4.0, 0.5) for name in config.policies]
    alone = [attainment(config, workload, name, scale) for _, name, scale in points]
    assert attainments(points, workers=2) == alone


def test_requests_without_an_slo_count_towards_the_latency_alone(tmp_path):
    rows = ["t_s,input_tokens,output_tokens", *(f"{n},20,20" for n in range(30))]
    trace = tmp_path / "trace.csv"
    trace.write_text("\n".join(rows) + "\n")
    slos = tmp_path / "slos.yaml"
    slos.write_text("classes: {easy: {e2e_ms: 9000000}, free: {}}\n")

    def found(*names):
        config = SimConfig(
            policies=("fcfs",),
            instances=("l40s-llama-3.1-8b",),
            traces=tuple(f"{name}={trace}" for name in names),
            slo_config=slos,
        )
        return attainment(config, SimWorkload(config, Console(quiet=True)), "fcfs", 1.0)

    assert found("easy", "free")["slo_attainment"] == 1.0
    with pytest.raises(InputError, match="target"):
        found("free")
