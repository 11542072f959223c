import pytest

from predictor.errors import ConfigError, ModelError, SlotwiseError, StoreError
from serving.cluster.config import cluster_config
from serving.cluster.preflight import check

pytest.importorskip("vllm")


def config(tmp_path, **settings):
    database = {"database_url": f"sqlite:///{tmp_path / 'o.db'}", "spool": str(tmp_path / "s")}
    return cluster_config({"model": "org/name", "settings": {**database, **settings}})


def test_what_is_right_passes(tmp_path):
    check(config(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"polcy": "fcfs"}, r"--set polcy .*no such setting.*policy"),
        ({"policy": "fast"}, "unknown policy 'fast'"),
        ({"time_box_ms": -1}, "time_box_ms"),
        ({"predictor": "/missing"}, "no such folder"),
        ({"slo_config": "/missing.yaml"}, "missing.yaml"),
        ({"mode": "off"}, "mode off"),
    ],
)
def test_what_is_wrong_is_named_before_anything_starts(tmp_path, settings, said):
    with pytest.raises(SlotwiseError, match=said):
        check(config(tmp_path, **settings))


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path):
    pytest.importorskip("psycopg")
    url = "postgresql://user:secret@127.0.0.1:1/x"
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1") as refused:
        check(config(tmp_path, database_url=url))
    assert "secret" not in str(refused.value)


def test_a_model_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json"):
        check(cluster_config({"model": str(tmp_path)}))


def test_mode_off_is_no_fleet_of_ours(tmp_path):
    with pytest.raises(ConfigError, match="serve run"):
        check(config(tmp_path, mode="off"))
