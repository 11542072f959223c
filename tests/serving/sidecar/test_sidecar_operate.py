import asyncio
import os
import shutil
import time

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sidecars import settings_in

from serving.observations.writer import ObservationWriter
from serving.sidecar.app import create_app
from serving.sidecar.recorder import Recorder
from serving.sidecar.schemas.observation import ObservationIn
from serving.sidecar.services import Services

METRICS = {
    "slotwise_database_up", "slotwise_e2e_seconds", "slotwise_ignored_hints", "slotwise_model",
    "slotwise_model_reloads",
    "slotwise_observations", "slotwise_observations_spooled", "slotwise_output_tokens",
    "slotwise_predicted_output_tokens", "slotwise_prediction_batch_items",
    "slotwise_prediction_fallbacks", "slotwise_prediction_pit", "slotwise_prediction_queue_items",
    "slotwise_prediction_seconds", "slotwise_predictions", "slotwise_predictor_restarts",
    "slotwise_request_seconds", "slotwise_requests", "slotwise_schedule_fallbacks",
    "slotwise_schedule_seconds", "slotwise_schedule_waiting_requests",
    "slotwise_shed_requests", "slotwise_slo_config_reloads", "slotwise_slo_met",
    "slotwise_slo_requests",
    "slotwise_slo_violations", "slotwise_tpot_seconds", "slotwise_ttft_seconds",
    "slotwise_untouched_requests",
}  # fmt: skip
OF_ENGINE = {
    "slotwise_engine_requests", "slotwise_latency_model_trained", "slotwise_policy_fallbacks",
}  # fmt: skip
# Pinned by tests/serving/cluster/test_cluster_metrics.py.
OF_FLEET = {
    "slotwise_fleet_predictors_mixed_seconds", "slotwise_replaced_requests",
    "slotwise_replica_healthy", "slotwise_replica_requests", "slotwise_replica_silent_seconds",
    "slotwise_router_board_failures", "slotwise_router_decision_seconds",
    "slotwise_router_decisions", "slotwise_router_digest_age_seconds", "slotwise_router_requests",
}  # fmt: skip


def observed(**more):
    return {"slo_class": "chat", "output_tokens": 41, "ttft_ms": 100, "e2e_ms": 2100, **more}


def test_the_names_of_the_metrics_are_a_contract(client):
    text = client.get("/metrics").text
    names = {
        family.name.removesuffix("_created") for family in text_string_to_metric_families(text)
    }
    names = {
        name.removesuffix("_info") if name == "slotwise_model_info" else name for name in names
    }
    assert names == METRICS


def test_the_dashboard_asks_for_metrics_that_exist(client):
    import json
    import re
    from importlib.resources import files

    text = files("serving").joinpath("grafana/slotwise.json").read_text(encoding="utf-8")
    board = json.loads(text)
    asked = set(re.findall(r"slotwise_[a-z_0-9]+", text)) - {"slotwise_"}
    suffixes = ("_total", "_bucket", "_sum", "_count", "_info")
    bases = {next((n.removesuffix(s) for s in suffixes if n.endswith(s)), n) for n in asked}
    assert bases <= METRICS | OF_ENGINE | OF_FLEET
    assert len(board["panels"]) >= 8


def test_alerts_ask_for_metrics_that_exist_and_each_has_its_advice():
    import re
    from importlib.resources import files
    from pathlib import Path

    import yaml

    text = files("serving").joinpath("grafana/alerts.yaml").read_text(encoding="utf-8")
    asked = {
        re.sub("_(total|bucket|count)$", "", name)
        for name in re.findall(r"slotwise_[a-z_0-9]+", text)
    }
    assert asked <= METRICS | OF_ENGINE | OF_FLEET
    (group,) = yaml.safe_load(text)["groups"]
    advice = Path("docs/operations.md").read_text(encoding="utf-8")
    assert all(f"| `{rule['alert']}` |" in advice for rule in group["rules"])


@pytest.mark.parametrize(
    "more", [{"answers": 2, "lengths": [0, 9, 1.0]}, {"answers": 50}, {"answers": 0}]
)
def test_observations_that_cannot_be_are_refused(client, more):
    assert (
        client.post("/observations", json={"observations": [observed(**more)]}).status_code == 422
    )


def test_several_answers_are_judged_by_their_times(client):
    body = {"observations": [observed(answers=3, slo_tpot_ms=1, slo_e2e_ms=5000)]}
    assert client.post("/observations", json=body).status_code == 202
    assert 'slotwise_slo_met_total{class="chat"} 1.0' in client.get("/metrics").text


def test_health_and_readiness(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"ready": True, "state": "trained"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_not_ready_while_nothing_stores_observations(tmp_path, predictor, monkeypatch):
    """Its thread has died and none can be started; once one can, all is as before."""

    def die(*_):
        raise SystemExit

    with TestClient(create_app(settings_in(tmp_path, predictor=predictor))) as used:
        assert used.get("/readyz").status_code == 200
        writer = used.app.state.services.writer
        with monkeypatch.context() as patch:
            patch.setattr(writer, "_on_outcome", die)
            observed = used.post("/observations", json={"observations": [{"output_tokens": 1}]})
            assert observed.status_code == 503
            writer._thread.join(30)
        with monkeypatch.context() as patch:
            patch.setattr(writer, "start", failing_start)
            answer = used.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["observations"] is False
            observed = used.post("/observations", json={"observations": [{"output_tokens": 1}]})
            assert observed.status_code == 503
        assert used.get("/readyz").status_code == 200
        observed = used.post("/observations", json={"observations": [{"output_tokens": 1}]})
        assert observed.json()["outcome"] == "stored"


def failing_start():
    raise RuntimeError("can't start new thread")


def test_not_ready_until_something_is_learned(tmp_path):
    with TestClient(create_app(settings_in(tmp_path))) as used:
        answer = used.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "state": "none"}
        told = used.post("/predict", json={"prompt": "a"}).json()
        assert told["source"] == "prior"
        assert told["model"]["kind"] == "prior"
        assert used.post("/reload").status_code == 409
        used.post("/observations", json={"observations": [observed()] * 64})
        assert used.get("/readyz").json() == {"ready": True, "state": "fallback"}
        assert used.post("/predict", json={"prompt": "a"}).json()["osl"] == pytest.approx(41, abs=6)
    with TestClient(create_app(settings_in(tmp_path))) as again:  # what was stored is known
        assert again.get("/readyz").json()["state"] == "fallback"
        assert again.get("/live").json()["finished"] == 64


def test_observations_are_judged_and_counted(client):
    rows = [
        observed(id="kept", lengths=[0, 20, 40, 80, 0.25, 0.5, 0.25]),
        observed(id="late", ttft_ms=6000, e2e_ms=90_000),
        observed(id="own", slo_e2e_ms=100),
        observed(id="nothing", slo_class="unheard of"),
    ]
    answer = client.post("/observations", json={"observations": rows})
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 4, "outcome": "stored", "ids": ["kept", "late", "own", "nothing"],
    }  # fmt: skip
    stored = {row.id: row for row in client.app.state.services.store.latest(10)}
    assert (stored["kept"].met, stored["kept"].violated) == (True, None)
    assert stored["kept"].tpot_s == pytest.approx(0.05)
    assert stored["kept"].pit == pytest.approx(0.75, abs=0.02)
    assert (stored["late"].met, stored["late"].violated) == (False, "ttft tpot")
    assert (stored["own"].met, stored["own"].violated) == (False, "e2e")
    assert stored["nothing"].met is None
    text = client.get("/metrics").text
    assert 'slotwise_slo_violations_total{class="chat",kind="ttft"} 1.0' in text
    assert "unheard" not in text
    live = client.get("/live").json()
    assert live["attainment"]["chat"]
    assert live["calibration"]["answers"] == 1


def test_a_forced_length_judges_no_forecast_and_teaches_no_prior(tmp_path):
    forced = [{"ignore_eos": True}, {"min_tokens": 41}]
    with TestClient(create_app(settings_in(tmp_path))) as used:
        for more in forced:
            rows = [observed(lengths=[0, 20, 40, 80, 0.25, 0.5, 0.25], **more)] * 64
            used.post("/observations", json={"observations": rows}).raise_for_status()
        assert used.get("/readyz").json()["state"] == "none"
        live = used.get("/live").json()
        assert live["calibration"]["answers"] == 0
        assert live["lengths"] == {}
        assert live["attainment"]["chat"]
    with TestClient(create_app(settings_in(tmp_path))) as again:
        assert again.get("/readyz").json()["state"] == "none"


def test_an_observation_is_judged_by_the_targets_of_its_class_that_it_leaves_out(tmp_path):
    slos = tmp_path / "slos.yaml"
    slos.write_text("classes: {fast: {ttft_ms: 1, e2e_ms: 90000}}\n")
    rows = [
        observed(id="own", slo_class="fast", slo_e2e_ms=80_000),
        observed(id="none", slo_class=None),
        observed(id="unheard", slo_class="unheard of"),
    ]
    with TestClient(create_app(settings_in(tmp_path, slo_config=slos))) as used:
        used.post("/observations", json={"observations": rows}).raise_for_status()
        stored = {row.id: row for row in used.app.state.services.store.latest(10)}
    assert stored["own"].violated == "ttft"
    assert (stored["none"].slo_class, stored["none"].met) == ("other", None)
    assert (stored["unheard"].slo_class, stored["unheard"].met) == ("unheard of", None)


async def test_a_thousand_observations_let_others_have_their_turn(tmp_path, monkeypatch):
    """While they are read, and while they are learned from."""
    recorder = Services.of(settings_in(tmp_path)).recorder
    turns, read_at, submit = 0, [], recorder.writer.submit
    monkeypatch.setattr(
        ObservationWriter, "submit", lambda _, rows: read_at.append(turns) or submit(rows)
    )
    learned_at = []
    monkeypatch.setattr(Recorder, "_learn", lambda *_: learned_at.append(turns))
    recorder.writer.start()
    rows = [ObservationIn(output_tokens=1 + n % 200, lengths=[0, 9, 1.0]) for n in range(1_000)]
    asked = asyncio.create_task(recorder.record(rows))
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    await asyncio.to_thread(recorder.writer.stop)
    assert len(asked.result()[0]) == len(learned_at) == 1_000
    assert read_at[0] > 20
    assert learned_at[-1] - learned_at[0] > 20


def test_prompts_are_stored_only_when_told_to(tmp_path):
    rows = {"observations": [observed(id="a", prompt="a secret")]}
    for number, store in enumerate((False, True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with TestClient(create_app(settings_in(folder, store_prompts=store))) as used:
            used.post("/observations", json=rows)
            (row,) = used.app.state.services.store.latest(1)
            assert row.prompt == ("a secret" if store else None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_tokens": 0}, {"output_tokens": None}, {"ttft_ms": 9, "e2e_ms": 3}, {"x": 1},
        {"lengths": [1, 0, 1.0]}, {"id": "a" * 65}, {"slo_class": "a\x00"}, {"prompt": "\x00"},
        {"at_unix_ms": -1}, {"output_tokens": 2**31},
    ],
)  # fmt: skip
def test_bad_observations(client, wrong):
    answer = client.post("/observations", json={"observations": [observed(**wrong)]})
    assert answer.status_code == 422


def test_reload_and_a_corrupt_artifact(tmp_path, predictor):
    folder = tmp_path / "model"
    shutil.copytree(predictor, folder)
    with TestClient(create_app(settings_in(tmp_path, predictor=folder))) as used:
        before = used.get("/status").json()["model"]
        assert used.post("/reload").json()["model"] == before
        content = (folder / "history.json").read_bytes()
        (folder / "history.json").write_bytes(content[: len(content) // 2])
        answer = used.post("/reload")
        assert answer.status_code == 409
        assert "SHA-256" in answer.json()["error"]["message"]
        told = used.get("/status").json()
        assert told["model"] == before
        assert "SHA-256" in told["model_error"]
        assert used.post("/predict", json={"prompt": "a"}).json()["source"] == "model"
        text = used.get("/metrics").text
        assert 'slotwise_model_reloads_total{outcome="refused"} 1.0' in text


def test_slo_classes_change_without_a_restart(tmp_path):
    file = tmp_path / "slo.yaml"
    file.write_text("classes: {gold: {e2e_ms: 1000}}")
    with TestClient(create_app(settings_in(tmp_path, slo_config=file))) as used:
        assert list(used.get("/status").json()["slo_classes"]) == ["gold"]
        file.write_text("classes: {gold: {e2e_ms: 1000}, silver: {}}")
        os.utime(file, ns=(1, 1))
        deadline_s = time.monotonic() + 10
        while "silver" not in used.get("/status").json()["slo_classes"]:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def test_the_token(tmp_path):
    with TestClient(create_app(settings_in(tmp_path, api_token="correct horse"))) as used:
        assert used.get("/healthz").status_code == 200
        assert used.get("/readyz").status_code == 503
        assert used.get("/").status_code == 200
        for headers in (
            {}, {"authorization": "Bearer wrong"}, {"authorization": "correct horse"},
            {"authorization": "Basic correct horse"}, {"authorization": "Bearer"},
        ):  # fmt: skip
            for path in ("/status", "/metrics", "/live", "/openapi.json"):
                answer = used.get(path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
        good = {"authorization": "bearer correct horse"}
        assert used.get("/status", headers=good).status_code == 200


def test_request_ids(client):
    assert (
        client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    )
    made = client.get("/healthz", headers={"x-request-id": "a b\tc"}).headers["x-request-id"]
    assert len(made) == 32


def test_bodies_have_a_limit(tmp_path):
    with TestClient(create_app(settings_in(tmp_path, max_body_mib=0.01))) as used:
        assert used.post("/predict", json={"prompt": "x" * 20_000}).status_code == 413
        pieces = (b"x" * 1000 for _ in range(30))  # announces no length
        answer = used.post("/predict", content=pieces, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert used.post("/predict", json={"prompt": "x"}).status_code == 200


def test_unknown_paths_and_methods_have_our_errors(client):
    assert client.get("/nope").json()["error"]["code"] == 404
    assert client.get("/predict").json()["error"]["code"] == 405
