"""Command line, environment and log of an engine."""

from pathlib import Path

import pytest

from serving.engine import EngineConfig, layout
from serving.engine.log import LogFollower, last_words


def test_the_command_line_carries_the_settings() -> None:
    made = EngineConfig(
        model="/models/m",
        port=1234,
        max_num_seqs=8,
        dtype="bfloat16",
        scheduler_class="pkg.mod.Class",
        scheduling_policy="priority",
        extra_args=("--seed", "1"),
    ).command()
    text = " ".join(made)
    assert "-P -m vllm.entrypoints.openai.api_server --model /models/m" in text
    assert "--port 1234" in text
    assert "--max-num-seqs 8 --max-model-len 2048 --dtype bfloat16" in text
    assert "--scheduler-cls pkg.mod.Class" in text
    assert "--scheduling-policy priority" in text
    assert "--enforce-eager --no-enable-prefix-caching" in text
    assert made[-2:] == ("--seed", "1")


def test_the_stock_scheduler_is_left_alone() -> None:
    assert "--scheduler-cls" not in EngineConfig(model="m").command()


def test_a_local_folder_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert EngineConfig(model=str(tmp_path)).environment()["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in EngineConfig(model="org/name").environment()


def test_the_environment_sends_no_statistics_and_the_callers_entries_win() -> None:
    made = EngineConfig(model="m", kv_cache_gib=3, env={"DO_NOT_TRACK": "0", "MINE": "x"})
    environment = made.environment()
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert environment["DO_NOT_TRACK"] == "0"
    assert environment["MINE"] == "x"


@pytest.mark.parametrize(
    ("cores", "cpu_build", "expected"),
    [(1, True, "compact"), (2, True, "compact"), (4, True, "standard"), (2, False, "standard")],
)
def test_few_cores_all_compute_in_one_process(
    cores: int, cpu_build: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    monkeypatch.setattr(layout, "_cores", lambda: cores)
    monkeypatch.setattr(layout, "cpu_build", lambda: cpu_build)
    assert layout.default() == expected
    assert ("uni" in EngineConfig(model="m").command()) is (expected == "compact")


def test_the_compact_layout_computes_on_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_cores", lambda: 2)
    environment = EngineConfig(model="m", layout="compact").environment()
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight cores, vLLM for CPUs, and a folder with a NUMA node for each ``mkdir``."""
    for name in ("VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(layout, "_cores", lambda: 8)
    monkeypatch.setattr(layout, "cpu_build", lambda: True)
    monkeypatch.setattr(layout, "_NODES", tmp_path)
    (tmp_path / "node0").mkdir()
    return tmp_path


def test_on_many_cores_no_thread_waits_for_one_core(server: Path) -> None:
    assert layout.environment(None) == {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "7",
        "GOMP_SPINCOUNT": "1000",
    }


def test_threads_stay_beside_their_memory_where_there_are_several(server: Path) -> None:
    (server / "node1").mkdir()
    assert layout.environment(None) == {"GOMP_SPINCOUNT": "1000"}


def test_a_vllm_for_gpus_is_left_alone(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "cpu_build", lambda: False)
    assert layout.environment(None) == {}
    assert layout.environment("standard") == {}


def test_the_users_choice_of_cores_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_cores", lambda: 2)
    monkeypatch.setattr(layout, "cpu_build", lambda: True)
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-1")
    assert layout.default() == "standard"
    assert EngineConfig(model="m").environment()["VLLM_CPU_OMP_THREADS_BIND"] == "0-1"


def test_the_log_is_followed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("hello\n")
    follower = LogFollower(path)
    assert follower.update() == "importing vLLM"
    with path.open("a") as log:
        log.write("INFO Resolved archi")
        log.flush()
        assert follower.update() == "importing vLLM"
        log.write("tecture: Llama\nINFO Starting to load model x...\n")
        log.flush()
    assert follower.update() == "loading the weights"


def test_last_words_are_the_errors_once_each(tmp_path: Path) -> None:
    path = tmp_path / "log"
    prefix = "(EngineCore pid=12) ERROR 11-21 04:09:26 [core.py:133] "
    path.write_text(
        f"{prefix}Traceback (most recent call last):\n"
        f'{prefix}  File "x.py", line 1, in <module>\n'
        f"{prefix}ValueError: no GPU\n"
        f"{prefix}ValueError: no GPU\n"
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause: {}\n"
        "nanobind: leaked 4 instances!\n"
        "UserWarning: resource_tracker: Error: 1 leaked objects\n"
    )
    assert last_words(path).splitlines() == [
        "ValueError: no GPU",
        "RuntimeError: Engine core initialization failed. See root cause: {}",
    ]


def test_last_words_of_an_engine_that_ray_started(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ray = "\x1b[36m(MapWorker(MapBatches(Stage)) pid=7, ip=10.0.0.2)\x1b[0m "
    path.write_text(
        f"{ray}(EngineCore pid=12) ERROR 11-21 04:09:26 [core.py:133] ValueError: no weights\n"
        f"{ray}RuntimeError: Engine core initialization failed. See root cause above.\n"
        f"ray.exceptions.ActorDiedError: The actor died of an error in its creation task: {ray}\n"
    )
    assert last_words(path) == "ValueError: no weights"


def test_without_errors_the_last_lines_speak(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(9)))
    assert last_words(path, lines=2) == "line 7\nline 8"
    path.write_text("")
    assert last_words(path) == "(its log is empty)"
