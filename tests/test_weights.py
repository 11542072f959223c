"""Where each weight was chosen: the record is complete, current, and kept apart from reports."""

import importlib
import json
from dataclasses import fields
from pathlib import Path

import pytest

from scheduler.placement.config import PlacementConfig
from scheduler.policies.qoserve import QoServeConfig
from scheduler.sliding.config import SlidingConfig
from scheduler.slots.config import SlotConfig

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
ROWS = json.loads((BENCHMARKS / "weights.json").read_text(encoding="utf-8"))
# Switches, and what no number was chosen for.
LEFT_OUT = {"seed", "strict_window", "from_first_token", "privileged_below", "time_box_most_s"}


@pytest.mark.parametrize("config", [SlotConfig, PlacementConfig, QoServeConfig, SlidingConfig])
def test_every_weight_has_a_row(config):
    owner = f"{config.__module__}:{config.__name__}."
    known = {row["setting"].removeprefix(owner) for row in ROWS if owner in row["setting"]}
    assert known == {field.name for field in fields(config)} - LEFT_OUT


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["setting"])
def test_a_row_says_the_value_in_force(row):
    module, colon, path = row["setting"].partition(":")
    if not colon:
        assert (BENCHMARKS / "results" / row["value"]).exists()
        return
    value = importlib.import_module(module)
    for name in path.split("."):
        value = getattr(value() if isinstance(value, type) else value, name)
    assert value == row["value"]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["seeds"]], ids=lambda row: row["setting"]
)
def test_no_weight_was_chosen_on_a_reported_seed(row):
    for name in row["reported_in"]:
        source = BENCHMARKS / "results" / name
        if not source.exists():
            continue  # not measured yet
        seeds = json.loads(source.read_text(encoding="utf-8"))["config"]["seeds"]
        reported = seeds if isinstance(seeds, list) else range(seeds)
        assert not set(row["seeds"]) & set(reported)


def test_the_step_limits_were_chosen_on_the_seeds_that_their_row_says():
    limits = json.loads((BENCHMARKS / "results/step-limits.json").read_text(encoding="utf-8"))
    row = next(row for row in ROWS if row["value"] == "step-limits.json")
    assert limits["config"]["seeds"] == row["seeds"]
    assert set(limits["config"]["square_wave_seeds"]) <= set(row["seeds"])
