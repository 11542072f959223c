"""Load and targets that follow the engine's speed: the same regime on any machine."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import EngineError, InputError
from scheduler.registry import PolicyName
from scheduler.simulator.profiles import EngineProfile, load_profile
from scheduler.simulator.request import SimRequest
from scheduler.slo import Slo, SloClass
from serving.bench.config import BenchConfig
from serving.bench.pace import Pace
from serving.bench.profile import profile_rounds
from serving.bench.speed import EngineSpeed
from serving.simulate.engines import run_policy
from serving.slo_config import DEFAULT, ClassTargets, SloConfig
from serving.steplog import StepRecord
from training.arrivals import arrival_times
from training.workload import WorkloadRequest

PROFILE = Path(__file__).parents[3] / "benchmarks" / "results" / "cpu-profile.json"
SLOTS = 16
NO_CLASS = SloClass("profile", Slo())
# 100 ms for 4 tokens out of 4 slots, 1 ms a prompt token.
SPEED = EngineSpeed(decode_step_s=0.1, prefill_token_s=0.001, batch=4)


def config(**changes: object) -> BenchConfig:
    return BenchConfig(**{"policies": ("fcfs",), "model": "m", "load": 1.3} | changes)


def requests(count: int = 160, *, seed: int = 0, rate: float = 1.6) -> list[WorkloadRequest]:
    """Prompts and outputs as in chats, half code, half chat, at the rate of the configuration."""
    rng = np.random.default_rng(seed)
    prompts = np.clip(rng.lognormal(4.0, 1.0, count), 4, 1000).astype(int)
    outputs = np.clip(rng.lognormal(4.6, 0.8, count), 4, 240).astype(int)
    arrivals = arrival_times(count, rate=rate, rng=rng)
    return [
        WorkloadRequest(
            f"r{n}", float(at_s), "", "code" if n % 2 else "chat", int(read), int(wrote)
        )
        for n, (at_s, read, wrote) in enumerate(zip(arrivals, prompts, outputs, strict=True))
    ]


def step(*, decodes: int = 0, prefill_tokens: int = 0, step_s: float | None) -> StepRecord:
    return StepRecord(
        at_s=0.0, waiting=0, running=decodes, prefills=int(prefill_tokens > 0),
        prefill_tokens=prefill_tokens, prefill_context_tokens=0, decodes=decodes,
        context_tokens=0, preempted=0, schedule_s=0.0, added_s=0.0, step_s=step_s,
    )  # fmt: skip


def test_the_speed_is_that_of_full_batches_and_of_what_prefills_add() -> None:
    steps = [
        step(decodes=1, step_s=0.02),
        step(prefill_tokens=16, step_s=5.0),  # short, and the first: it warms up
        *[step(decodes=16, step_s=0.05)] * 3,
        *[step(decodes=13, step_s=0.04)] * 3,
        step(decodes=16, step_s=None),
        step(prefill_tokens=300, step_s=0.3),
        step(prefill_tokens=100, decodes=8, step_s=0.145),
    ]
    speed = EngineSpeed.of(steps, batch=16)
    assert speed.decode_step_s == pytest.approx(0.045)
    # A step takes 20 ms, and 25 / 16 ms more for each that decodes.
    assert speed.prefill_token_s == pytest.approx((0.28 + 0.125 - 8 * 0.025 / 16) / 400)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [step(decodes=16, step_s=0.05)] * 9,
        [*[step(decodes=4, step_s=0.05)] * 9, step(prefill_tokens=64, step_s=1.0)],
        [*[step(decodes=16, step_s=0.05)] * 3, step(prefill_tokens=64, step_s=1.0)],
    ],
)
def test_too_few_steps_are_no_measurement(steps: list[StepRecord]) -> None:
    with pytest.raises(EngineError, match="full batches of 16"):
        EngineSpeed.of(steps, batch=16)


def test_a_load_is_a_multiple_of_what_the_engine_carries() -> None:
    sent = [WorkloadRequest(f"r{n}", 1.0 * n, "", "code", 200, 40) for n in range(4)]
    pace = Pace.of(config(load=1.5), DEFAULT, SPEED, sent)
    # 0.2 s of prefill, and 40 steps of 0.1 s shared by 4.
    assert pace.capacity == pytest.approx(1 / 1.2)
    assert pace.request_rate == pytest.approx(1.5 / 1.2)
    assert pace.request_s == pytest.approx(4.2)
    arrivals = [each.arrival_s for each in pace.arrivals(config(load=1.5), sent)]
    assert arrivals == pytest.approx([n * 1.6 / (1.5 / 1.2) for n in range(4)])
    targets = pace.slo_config.classes
    assert targets["code"].e2e_ms == pytest.approx(8400.0)
    assert targets["chat"].ttft_ms == pytest.approx(2100.0)
    assert targets["chat"].tpot_ms == pytest.approx(200.0)
    assert targets["chat"].priority == 1
    assert "1.2 requests/s" in pace.summary()
    assert "code E2E 8.4 s; chat TTFT 2.1 s, TPOT 200 ms" in pace.summary()


def test_absolute_rates_and_targets_stay_and_their_multiples_stand_beside_them() -> None:
    sent = [WorkloadRequest("r", 0.0, "", "code", 200, 40)]
    wanted = config(load=None)
    pace = Pace.of(wanted, DEFAULT, SPEED, sent)
    assert pace.arrivals(wanted, sent) is sent
    facts = pace.facts()
    assert facts["slo_classes"] == DEFAULT.document()
    assert facts["request_rate"] == 1.6
    assert facts["load"] == pytest.approx(1.6 * 1.2)
    assert facts["relative_targets"] == {
        "code": {"e2e": pytest.approx(30 / 4.2)},
        "chat": {"ttft": pytest.approx(5 / 4.2), "tpot": pytest.approx(1.0)},
    }
    json.dumps(Pace.of(replace(wanted, request_rate=math.inf), DEFAULT, SPEED, sent).facts(),
               allow_nan=False)  # fmt: skip


def test_targets_of_the_users_file_are_kept_under_a_relative_load(tmp_path: Path) -> None:
    own = SloConfig(classes={"code": ClassTargets(e2e_ms=7)})
    sent = [WorkloadRequest("r", 0.0, "", "code", 200, 40)]
    pace = Pace.of(config(slo_config=tmp_path / "slos.yaml"), own, SPEED, sent)
    assert pace.slo_config == own
    assert pace.load == 1.3


@pytest.mark.parametrize("load", [0.0, -1.0, math.inf, math.nan])
def test_a_load_must_be_a_positive_number(load: float) -> None:
    with pytest.raises(InputError, match="load"):
        config(load=load)


def simulated(
    profile: EngineProfile, policy: str, sent: list[tuple[WorkloadRequest, SloClass]]
) -> tuple[list[StepRecord], float]:
    """The steps, and the share of requests whose SLO was attained."""
    run = run_policy(
        PolicyName.parse(policy),
        [profile],
        [
            SimRequest(
                request_id=each.request_id,
                arrival_s=each.arrival_s,
                prompt_tokens=each.prompt_tokens,
                output_tokens=each.output_tokens,
                slo=slo_class.slo,
                lengths=LengthDistribution.point(each.output_tokens),
                slo_class=each.slo_class,
                priority=slo_class.priority,
            )
            for each, slo_class in sent
        ],
    )
    return list(run.steps), float(np.mean([bool(record.met) for record in run.records]))


def measured(profile: EngineProfile) -> EngineSpeed:
    """As a benchmark measures it: by the same rounds of made-up requests."""
    steps: list[StepRecord] = []
    for round_ in profile_rounds(SLOTS):
        sent = [
            (
                WorkloadRequest(
                    f"p{n}", 0.0, "", "profile", len(made.prompt.split()), made.output_tokens
                ),
                NO_CLASS,
            )
            for n, made in enumerate(round_)
        ]
        steps += simulated(profile, "fcfs", sent)[0]
    return EngineSpeed.of(steps, SLOTS)


@pytest.mark.parametrize("seed", [0, 1])
def test_fcfs_is_in_the_same_trouble_on_a_machine_ten_times_as_slow(seed: int) -> None:
    attained: dict[str, list[float]] = {"fcfs": [], "slotwise": []}
    for factor in (1.0, 10.0):
        profile = load_profile(str(PROFILE)).slower(factor)
        sampled = requests(seed=seed)
        pace = Pace.of(config(), DEFAULT, measured(profile), sampled)
        classes = pace.slo_config.slo_classes()
        sent = [(each, classes[each.slo_class]) for each in pace.arrivals(config(), sampled)]
        for policy, found in attained.items():
            found.append(simulated(profile, policy, sent)[1])
    fcfs, ours = attained["fcfs"], attained["slotwise"]
    assert fcfs[0] == pytest.approx(fcfs[1], abs=0.02)
    assert max(fcfs) < 0.6
    assert min(ours) > max(fcfs) + 0.1, attained
