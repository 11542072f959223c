"""What ``slotwise serve`` chooses for a machine without a GPU, and what it leaves alone."""

import pytest

from serving.engine import dtype, layout, memory
from serving.serve import launch
from serving.settings import Settings

KV = "--kv-cache-memory-bytes"


@pytest.fixture
def laptop(monkeypatch):
    """vLLM for CPUs, AVX2 alone, 3 GiB to spare, no compiler."""
    monkeypatch.setattr(layout, "cpu_build", lambda: True)
    monkeypatch.setattr(dtype, "_features", lambda: "flags : avx avx2 fma")
    monkeypatch.setattr(memory, "kv_cache_bytes", lambda model, dtype: 3 << 30)
    monkeypatch.setattr("serving.serve_defaults.shutil.which", lambda name: None)
    for name in ("VLLM_CPU_KVCACHE_SPACE", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def started(*flags):
    return launch("folder", flags, Settings(), name="asked", told={})


def test_dtype_memory_and_eager_mode_suit_the_machine_and_are_said(laptop):
    made = started("--port", "9000")
    command = " ".join(made.command)
    assert "--dtype float32" in command
    assert f"{KV} {3 << 30}" in command
    assert "--enforce-eager" in command
    assert made.command[-2:] == ("--port", "9000")
    said = " ".join(made.notes)
    assert "float32" in said
    assert "3,072 MiB" in said
    assert "no C++ compiler" in said


@pytest.mark.parametrize("flags", [["--dtype", "auto"], ["--dtype=auto"], ["--dt=auto"]])
def test_a_dtype_left_open_by_name_is_chosen_too(laptop, flags):
    command = started("--port", "9000", *flags, "--seed", "1").command
    assert "auto" not in " ".join(command)
    assert command[command.index("--dtype") + 1] == "float32"
    assert command[-4:] == ("--port", "9000", "--seed", "1")


@pytest.mark.parametrize(
    ("flags", "absent"),
    [
        (["--dtype", "bfloat16"], "float32"),
        (["--dtype=bfloat16"], "float32"),
        (["--gpu-memory-utilization", "0.5"], KV),
        (["--gpu_memory_utilization=0.5"], KV),
        (["--tensor-parallel-size", "2"], KV),
        (["-tp", "2"], KV),
        (["--no-enforce-eager"], "--enforce-eager"),
        (["-O3"], "--enforce-eager"),
        (["--compilation-config", "{}"], "--enforce-eager"),
    ],
)
def test_what_the_user_says_is_not_said_twice(laptop, flags, absent):
    assert absent not in started(*flags).command


def test_a_dtype_that_the_file_leaves_open_is_chosen_too(laptop, tmp_path):
    path = tmp_path / "vllm.yaml"
    path.write_text("dtype: auto\n")
    command = started("--config", str(path)).command
    assert command[command.index("--dtype") + 1] == "float32"
    assert "bfloat16" in started("--config", str(path), "--dtype", "bfloat16").command


def test_what_the_file_of_vllm_says_counts(laptop, tmp_path):
    path = tmp_path / "vllm.yaml"
    path.write_text("dtype: bfloat16\ngpu-memory-utilization: 0.3\nenforce-eager: true\n")
    command = started("--config", str(path)).command
    assert not {"--dtype", KV, "--enforce-eager"} & set(command)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [(["--dtype", "bfloat16"], "bfloat16"), (["--dtype=float"], "float"), ([], "float32")],
)
def test_the_weights_are_counted_in_the_dtype_that_the_engine_uses(laptop, flags, wanted):
    counted = []
    laptop.setattr(memory, "kv_cache_bytes", lambda model, dtype: counted.append(dtype))
    started(*flags)
    assert counted == [wanted]


def test_vllms_own_variable_for_the_memory_counts(laptop):
    laptop.setenv("VLLM_CPU_KVCACHE_SPACE", "4")
    assert KV not in started().command


def test_with_a_compiler_vllm_compiles(laptop):
    laptop.setattr("serving.serve_defaults.shutil.which", lambda name: f"/usr/bin/{name}")
    assert "--enforce-eager" not in started().command


def test_a_vllm_for_gpus_gets_nothing(laptop):
    laptop.setattr(layout, "cpu_build", lambda: False)
    made = started()
    assert not {"--dtype", KV, "--enforce-eager"} & set(made.command)
    assert made.notes == ()
