import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from predictor.errors import InputError
from scheduler.simulator.profiles import load_profile, profile_names
from scheduler.simulator.recorded import RecordedRequest, read_recorded
from scheduler.simulator.tables import read_tables
from scheduler.simulator.validation import replay, validate

LAYERS = 2
ONCE_US, EACH_US, HEADS_US = 3.0, 2 * 3.0 + 4 + 5 + 6 + 7 + 8 + 9, 110.0
SKEW = ("pc", "n_label", "skew_rate_label", "kv_big_label", "kp_label", "alpha")
ROW = {
    "request_id": "a",
    "input_toks": 10,
    "output_toks": 5,
    "queued_ts": 1.0,
    "first_token_ts": 2.0,
    "last_token_ts": 3.0,
}


def ints(*values):
    return np.array(values, dtype=np.int64)


def without(rows, column):
    return [{name: value for name, value in row.items() if name != column} for row in rows]


def rows_of(folder, name):
    with (folder.profile / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_step_is_the_sum_of_its_layers(folder):
    time = read_tables(folder.profile, layers=LAYERS)
    # 20 prompt tokens over 40 cached ones, beside two decodes: 22 tokens, 3 sequences.
    stretch = 1 + 21 / 99
    dense_us = stretch * (ONCE_US + LAYERS * EACH_US)
    attention_us = 10 * 20 + 20 * 40 / 8 + 2 * 200 / 4
    step_s = time.seconds(ints(20, 1, 1), ints(40, 100, 300))
    assert step_s == pytest.approx(1e-6 * (dense_us + HEADS_US + LAYERS * attention_us))


def test_dense_layers_go_on_as_they_ended(folder):
    time = read_tables(folder.profile, layers=LAYERS)
    dense_us = (1 + 199 / 99) * (ONCE_US + LAYERS * EACH_US)
    assert time.by_tokens[200] == pytest.approx(1e-6 * dense_us)


def test_layers_that_only_some_models_have_are_added(folder):
    plain = read_tables(folder.profile, layers=LAYERS)
    rows = rows_of(folder, "dense")
    folder.table("dense", [*rows, {"layer": "qk_norm", "tokens": 1, "time_us": 50}])
    more = read_tables(folder.profile, layers=LAYERS)
    assert more.by_tokens[1] - plain.by_tokens[1] == pytest.approx(LAYERS * 50e-6)


def test_what_was_not_measured_follows_from_fewer_decodes(folder):
    full = read_tables(folder.profile, layers=LAYERS)
    rows = [
        row
        for row in rows_of(folder, "attention")
        if not (row["n_decode"] == "8" and row["prefill_chunk"] == "32")
    ]
    folder.table("attention", rows)
    gaps = read_tables(folder.profile, layers=LAYERS)
    np.testing.assert_allclose(gaps.attention.seconds, full.attention.seconds)


def test_what_follows_from_nothing_is_named(folder):
    rows = [row for row in rows_of(folder, "attention") if row["kv_decode"] != "512"]
    rows.append(
        {"prefill_chunk": 0, "kv_prefill": 0, "n_decode": 8, "kv_decode": 512, "time_us": 1}
    )
    folder.table("attention", rows)
    with pytest.raises(InputError, match=r"attention\.csv lacks prefill_chunk=32"):
        read_tables(folder.profile, layers=LAYERS)


def test_skew_is_read_and_unmeasured_buckets_take_the_mean(folder):
    labels = ("sr<=50%", "kvB<=1k", "kp=0")
    rows = [("0", "n<=2", *labels, 0.25), ("0", "n>2", *labels, 0.75)]
    folder.table("skew_fit", [dict(zip(SKEW, row, strict=True)) for row in rows])
    table = read_tables(folder.profile, layers=LAYERS).attention
    assert table.skew_decodes.tolist() == [2.0, math.inf]
    assert (table.skew_rate[0], table.skew_longest[0]) == (0.5, 1024.0)
    assert table.skew[0].ravel().tolist() == [0.25, 0.75]
    assert table.skew[1].ravel().tolist() == [0.5, 0.5]


def test_a_skew_bucket_nobody_understands_is_named(folder):
    row = dict(zip(SKEW, ("0", "n~2", "sr<=50%", "kvB<=1k", "kp=0", 0.25), strict=True))
    folder.table("skew_fit", [row])
    with pytest.raises(InputError, match=r"skew_fit\.csv: bucket 'n~2'"):
        read_tables(folder.profile, layers=LAYERS)


@pytest.mark.parametrize("name", ["dense", "per_sequence", "attention"])
def test_a_missing_table_is_named(folder, name):
    folder.table(name, None)
    with pytest.raises(InputError, match=rf"{name}\.csv cannot be read"):
        load_profile(str(folder.path))


@pytest.mark.parametrize("name", ["dense", "per_sequence", "attention"])
def test_a_table_without_rows_is_named(folder, name):
    file = folder.profile / f"{name}.csv"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match=rf"{name}\.csv has no rows"):
        load_profile(str(folder.path))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("dense", "layer"),
        ("dense", "tokens"),
        ("per_sequence", "sequences"),
        ("attention", "kv_decode"),
        ("attention", "time_us"),
    ],
)
def test_a_missing_column_is_named(folder, name, column):
    folder.table(name, without(rows_of(folder, name), column))
    with pytest.raises(InputError, match=rf"{name}\.csv lacks the column\(s\) {column}"):
        load_profile(str(folder.path))


@pytest.mark.parametrize(("name", "layer"), [("dense", "o_proj"), ("per_sequence", "sampler")])
def test_a_missing_layer_is_named(folder, name, layer):
    folder.table(name, [row for row in rows_of(folder, name) if row["layer"] != layer])
    with pytest.raises(InputError, match=rf"{name}\.csv lacks the layer\(s\) {layer}"):
        load_profile(str(folder.path))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("-1", "times are not negative"),
        ("fast", "a number is needed"),
        ("nan", "a number is needed"),
        ("inf", "a number is needed"),
        ("", "a number is needed"),
    ],
)
@pytest.mark.parametrize("name", ["dense", "per_sequence", "attention"])
def test_a_time_that_is_none_is_named(folder, name, value, words):
    rows = rows_of(folder, name)
    rows[-1]["time_us"] = value
    folder.table(name, rows)
    with pytest.raises(InputError, match=rf"{name}\.csv: time_us is .*{words}"):
        load_profile(str(folder.path))


def test_one_point_on_an_axis_is_too_few(folder):
    folder.table("attention", [r for r in rows_of(folder, "attention") if r["kv_decode"] == "0"])
    with pytest.raises(InputError, match=r"attention\.csv needs two points"):
        load_profile(str(folder.path))


def test_a_model_of_unknown_depth_is_named(folder):
    folder.meta(num_hidden_layers=None, model="nobody/knows-7b")
    with pytest.raises(InputError, match=r"meta\.json: how many layers 'nobody/knows-7b'"):
        load_profile(str(folder.path))


@pytest.mark.parametrize(
    "said",
    [
        {"num_hidden_layers": 32},
        {"model_config": {"num_layers": 32}},
        {"model": "meta-llama/Llama-3.1-8B"},
        {"model": "meta-llama/Llama-3.1-8B-Instruct"},
        {"model": "mistralai/Mistral-7B-Instruct-v0.3"},
    ],
)
def test_the_depth_is_said_or_known_by_the_model(folder, said):
    folder.meta(**{"num_hidden_layers": None, **said})
    profile = load_profile(str(folder.path))
    assert profile.step_time.by_tokens[1] == pytest.approx(1e-6 * (ONCE_US + 32 * EACH_US))


def test_settings_come_from_the_meta_file(folder):
    profile = load_profile(str(folder.path))
    assert (profile.limits.max_num_seqs, profile.limits.max_batched_tokens) == (4, 64)
    assert profile.rules.prefix_caching
    assert profile.rules.asynchronous
    assert not profile.rules.by_priority
    folder.meta(
        vllm_version="0.13.2",
        engine_kwargs={"scheduling_policy": "priority"},
        kv_cache={"block_size": 32, "num_kv_tokens": 330},
    )
    profile = load_profile(str(folder.path))
    assert (profile.limits.max_num_seqs, profile.limits.max_batched_tokens) == (256, 2048)
    assert profile.limits.kv_tokens == (10 - 1) * 32
    assert profile.rules.by_priority
    assert not profile.rules.asynchronous
    assert not profile.rules.prefix_caching
    folder.meta(vllm_version="0.13.2", engine_kwargs={"async_scheduling": True})
    assert load_profile(str(folder.path)).rules.asynchronous


@pytest.mark.parametrize("value", [0, -3, "many", float("inf")])
def test_a_setting_that_is_no_positive_number_is_named(folder, value):
    folder.meta(engine_kwargs={"max_num_seqs": value})
    with pytest.raises(InputError, match=r"meta\.json: max_num_seqs"):
        load_profile(str(folder.path))


def test_the_profile_folder_itself_finds_its_meta_file(folder):
    assert load_profile(str(folder.profile)).limits == load_profile(str(folder.path)).limits


def test_one_block_of_the_pool_is_a_placeholder(folder):
    profile = load_profile(str(folder.path))
    assert profile.memory_bound
    assert profile.limits.kv_tokens == 64 * 16


def test_without_a_memory_size_memory_is_no_limit(folder):
    folder.meta(kv_cache={})
    profile = load_profile(str(folder.path))
    assert not profile.memory_bound
    crowd = [RecordedRequest(str(n), 0.0, 5000, 20, 0.0, 0.0) for n in range(8)]
    assert len(replay(crowd, profile)) == 8


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_meta_file_that_is_none_is_named(folder, content):
    (folder.path / "meta.json").write_text(content)
    with pytest.raises(InputError, match=r"meta\.json"):
        load_profile(str(folder.path))


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(InputError, match=r"'h20-llama-3\.1-8b'.*did you mean h200-llama-3\.1-8b"):
        load_profile("h20-llama-3.1-8b")
    with pytest.raises(InputError, match=r"'zzz'.*use one of h200"):
        load_profile("zzz")


def test_a_file_that_no_profile_command_wrote_is_named(tmp_path):
    file = tmp_path / "profile.json"
    file.write_text('{"limits": {}}')
    with pytest.raises(InputError, match=r"profile\.json"):
        load_profile(str(file))


@pytest.mark.parametrize("name", profile_names())
def test_built_in_profiles_grow_with_the_work(name):
    profile = load_profile(name)
    time = profile.step_time
    decodes = [time.seconds_of(0, 0, n, 500) for n in (1, 16, 256)]
    contexts = [time.seconds_of(0, 0, 16, context) for context in (10, 1000, 100_000)]
    prompts = [time.seconds_of(1, tokens, 0, 0) for tokens in (10, 500, 8000)]
    for seconds in (decodes, contexts, prompts):
        assert np.isfinite(seconds).all()
        assert 0 < seconds[0] < seconds[1] < seconds[2] < 10


@pytest.mark.parametrize("name", profile_names())
def test_built_in_profiles_have_a_latency_model_of_their_decodes(name):
    profile = load_profile(name)
    latency = profile.latency()
    for decodes, context in ((4, 500), (64, 1000), (256, 500)):
        assert latency.step_s(0, 0, decodes, decodes * context) == pytest.approx(
            profile.step_time.seconds_of(0, 0, decodes, context), rel=0.1
        )


def test_a_slower_engine_is_slower_in_every_part(folder):
    for profile in (load_profile(str(folder.path)), load_profile("h100-llama-3.1-8b")):
        chunks, cached = ints(20, 1, 1), ints(40, 100, 300)
        assert profile.slower(3.0).step_time.seconds(chunks, cached) == pytest.approx(
            3.0 * profile.step_time.seconds(chunks, cached)
        )


def arrivals(count=30):
    rng = np.random.default_rng(4)
    at = np.cumsum(rng.exponential(0.002, count))
    return [
        RecordedRequest(
            str(n), float(at[n]), int(rng.integers(2, 200)), int(rng.integers(1, 60)), 0, 0
        )
        for n in range(count)
    ]


def as_row(request, start_s=1000.0):
    queued_s = start_s + request.arrival_s
    return {
        "request_id": request.request_id,
        "input_toks": request.prompt_tokens,
        "output_toks": request.output_tokens,
        "queued_ts": queued_s,
        "first_token_ts": queued_s + request.ttft_s,
        "last_token_ts": queued_s + request.e2e_s,
    }


def test_a_run_of_the_simulator_validates_without_error(folder):
    served = replay(arrivals(), load_profile(str(folder.path)))
    assert any(request.ttft_s > 2 * served[0].ttft_s for request in served)
    folder.requests([as_row(request) for request in served])
    found = validate(folder.path)
    assert set(found) == {"ttft", "tpot", "latency"}
    for metric in found.values():
        assert set(metric) == {"mean", "p50", "p90", "p99"}
        for comparison in metric.values():
            assert comparison.measured > 0
            assert abs(comparison.error) < 1e-6


def test_a_run_measured_half_as_fast_is_half_off(folder):
    served = replay(arrivals(), load_profile(str(folder.path)))
    rows = [as_row(request) for request in served]
    for row in rows:
        for name in ("first_token_ts", "last_token_ts"):
            row[name] += row[name] - row["queued_ts"]
    folder.requests(rows)
    for metric in validate(folder.path).values():
        for comparison in metric.values():
            assert comparison.error == pytest.approx(-0.5, abs=1e-6)


def test_recorded_requests_come_by_arrival_from_zero(folder):
    late = {**ROW, "request_id": "b", "queued_ts": 1.5}
    folder.requests([late, "", ROW])
    first, second = read_recorded(folder.path)
    assert (first.request_id, first.arrival_s, first.ttft_s, first.e2e_s) == ("a", 0.0, 1.0, 2.0)
    assert (second.request_id, second.arrival_s, second.tpot_s) == ("b", 0.5, 0.25)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ({**ROW, "queued_ts": None}, "queued_ts is no number (line 2)"),
        ({**ROW, "first_token_ts": "soon"}, "first_token_ts is no number (line 2: 'soon')"),
        ({**ROW, "output_toks": True}, "output_toks is no number"),
        ({**ROW, "output_toks": 10**400}, "output_toks is no number"),
        ({**ROW, "input_toks": 0}, "input_toks is no whole number >= 1 (line 2: 0)"),
        ({**ROW, "output_toks": -2}, "output_toks is no whole number >= 1"),
        ({**ROW, "last_token_ts": 0.0}, "last_token_ts fall"),
        (ROW, "request_id occurs twice (line 2: 'a')"),
    ],
)
def test_a_request_that_failed_or_cannot_be_read_is_left_out(folder, caplog, line, words):
    folder.requests([ROW, line, {**ROW, "request_id": "c"}])
    assert [request.request_id for request in read_recorded(folder.path)] == ["a", "c"]
    assert "2 of 3 requests are used; left out: 1 x" in caplog.text
    assert words in caplog.text


def test_a_run_of_failed_requests_is_named(folder):
    folder.requests([{**ROW, "output_toks": 0}])
    with pytest.raises(InputError, match=r"requests\.jsonl: none of 1 requests can be used"):
        read_recorded(folder.path)


def test_a_run_without_requests_is_named(folder):
    with pytest.raises(InputError, match=r"requests\.jsonl cannot be read"):
        read_recorded(folder.path)
    folder.requests([""])
    with pytest.raises(InputError, match=r"requests\.jsonl: holds no request"):
        read_recorded(folder.path)


def test_the_recorded_run_is_met_within_seven_percent():
    data = os.environ.get("SLOTWISE_DATA")
    if not data:
        pytest.skip("SLOTWISE_DATA is not set: it names a folder that holds vllm_runs/")
    found = validate(Path(data) / "vllm_runs" / "rtx4090-llama-3.1-8b")
    errors = {
        (metric, statistic): comparison.error
        for metric, comparisons in found.items()
        for statistic, comparison in comparisons.items()
    }
    assert {name: error for name, error in errors.items() if abs(error) > 0.07} == {}


def test_a_name_with_a_factor_is_so_many_times_as_slow():
    fast, slow = load_profile("h100-llama-3.1-8b"), load_profile("h100-llama-3.1-8b/2")
    step = (1, 512, 16, 700)
    assert slow.step_time.seconds_of(*step) == 2 * fast.step_time.seconds_of(*step)
    assert slow.limits == fast.limits
