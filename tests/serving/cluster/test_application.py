"""What Ray is told of one engine of the fleet."""

import pytest

pytest.importorskip("ray.serve.llm")
pytest.importorskip("vllm")

from serving.cluster.application import llm_config
from serving.cluster.config import cluster_config


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    return str(folder)


def described(model, **fields):
    found = llm_config(cluster_config({"model": model, **fields}))
    return found.engine_kwargs, found.runtime_env["env_vars"]


def test_engines_that_share_a_machine_let_each_other_compute(model, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    engine, variables = described(model, accelerator="cpu")
    assert engine["dtype"] == "auto"  # each replica chooses for its own node
    assert variables["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert variables["GOMP_SPINCOUNT"] == "1000"
    assert variables["PYTHONSAFEPATH"] == "1"


def test_an_engine_on_a_gpu_is_left_to_vllm(model):
    engine, variables = described(model, accelerator="gpu")
    assert "dtype" not in engine
    assert "GOMP_SPINCOUNT" not in variables


def test_what_the_user_says_of_the_engine_wins(model):
    engine, _ = described(model, accelerator="cpu", engine={"dtype": "bfloat16"})
    assert engine["dtype"] == "bfloat16"
