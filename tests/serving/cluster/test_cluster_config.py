import pytest
import yaml

from predictor.errors import ConfigError
from serving.cluster.config import cluster_config
from serving.cluster.serve_config import serve_config


def test_what_a_fleet_takes():
    config = cluster_config({"model": "m", "replicas": 3, "ingress_replicas": 2})
    assert (config.cpus, config.gpus) == (8.0, 3.0)
    assert cluster_config({"model": "m", "accelerator": "cpu"}).gpus == 0


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": ""}, "model"),
        ({"model": "m", "replicas": 0}, "replicas"),
        ({"model": "m", "router": "best"}, "router"),
        ({"model": "m", "speed": 1}, "speed"),
    ],
)
def test_a_wrong_field_is_named(fields, named):
    with pytest.raises(ConfigError, match=f"cluster: {named}"):
        cluster_config(fields)


def test_settings_become_variables_and_promoted_models_are_looked_for():
    variables = cluster_config({"model": "m", "settings": {"policy": "fcfs"}}).variables()
    assert variables["SLOTWISE_POLICY"] == "fcfs"
    assert float(variables["SLOTWISE_MODEL_POLL_S"]) > 0
    still = cluster_config({"model": "m", "settings": {"model_poll_s": 0}}).variables()
    assert still["SLOTWISE_MODEL_POLL_S"] == "0"


def test_the_serve_config_reads_back():
    config = cluster_config({"model": "m", "replicas": 4, "engine": {"max_num_seqs": 64}})
    document = yaml.safe_load(serve_config(config, host="0.0.0.0", port=80))
    (application,) = document["applications"]
    assert application["import_path"] == "serving.cluster.application:build"
    assert cluster_config(application["args"]) == config
    assert document["http_options"] == {"host": "0.0.0.0", "port": 80}


def test_a_router_may_be_a_class_of_ones_own():
    named = "serving.cluster.router:SloRequestRouter"
    assert cluster_config({"model": "m", "router": named}).router == named


@pytest.mark.parametrize("command", ["serve", "config"])
def test_a_secret_is_neither_written_nor_passed_on(command):
    from typer.testing import CliRunner

    from serving.cli.app import app

    url = "postgresql://u:p@h/d"
    result = CliRunner().invoke(app, ["cluster", command, "m", "--set", f"database_url={url}"])
    assert isinstance(result.exception, ConfigError)
    assert "SLOTWISE_DATABASE_URL" in str(result.exception)
    assert "u:p" not in str(result.exception)


def test_settings_are_read_as_an_environment_has_them_and_engine_arguments_as_yaml():
    from typer.testing import CliRunner

    from serving.cli.app import app

    flags = ["--set", "predictor=3", "--set", "mode=off", "--engine", "max_num_seqs=8"]
    shown = CliRunner().invoke(app, ["cluster", "config", "m", *flags])
    (application,) = yaml.safe_load(shown.output)["applications"]
    assert application["args"]["settings"] == {"predictor": "3", "mode": "off"}
    assert application["args"]["engine"] == {"max_num_seqs": 8}
