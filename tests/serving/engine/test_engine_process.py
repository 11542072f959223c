"""Start, death and end of an engine process, with a small server in place of vLLM."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from predictor.errors import EngineError
from serving.engine import EngineConfig, EngineProcess, free_port, process

SERVER = Path(__file__).with_name("fake_server.py")


class Fake:
    """Makes engines around the fake server and knows which processes they became."""

    def __init__(self, folder: Path) -> None:
        self.pids_path = folder / "pids"
        self.log_path = folder / "engine.log"

    def config(self, mode: str = "ready") -> EngineConfig:
        env = {"FAKE_MODE": mode, "FAKE_PIDS": str(self.pids_path)}
        server = (sys.executable, str(SERVER))
        return EngineConfig(model="fake", port=free_port(), server=server, env=env)

    def engine(self, mode: str = "ready") -> EngineProcess:
        return EngineProcess(self.config(mode), self.log_path, grace_s=5.0)

    def pids(self) -> list[int]:
        return [int(pid) for pid in self.pids_path.read_text().split()]

    def survivors(self) -> list[int]:
        return [pid for pid in self.pids() if lives(pid)]


def lives(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(fake: Fake) -> None:
    while fake.survivors():
        time.sleep(0.02)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_it_answers_inside_the_block_and_is_gone_after_it(fake: Fake) -> None:
    with fake.engine() as engine:
        assert engine.alive()
        assert engine.death() is None
        assert engine.start_s is not None
        assert httpx.get(f"{engine.base_url}/health", trust_env=False).status_code == 200
        assert len(fake.survivors()) == 2
    assert not engine.alive()
    assert fake.survivors() == []
    engine.stop()


def test_an_engine_that_does_not_want_to_end_is_killed_with_its_children(fake: Fake) -> None:
    engine = replace(fake.engine("stubborn"), grace_s=0.3)
    with engine:
        assert len(fake.survivors()) == 2
    assert fake.survivors() == []


def test_it_is_gone_after_an_error_in_the_block(fake: Fake) -> None:
    with pytest.raises(KeyError), fake.engine():
        raise KeyError
    assert fake.survivors() == []


def test_progress_names_the_phases(fake: Fake) -> None:
    seen: list[str] = []
    engine = replace(fake.engine(), on_progress=lambda elapsed_s, phase: seen.append(phase))
    with engine:
        pass
    assert seen[0] == "importing vLLM"


def test_a_death_during_the_start_is_told_in_the_engines_words(fake: Fake) -> None:
    with (
        pytest.raises(EngineError, match="model fake did not start") as caught,
        fake.engine("broken"),
    ):
        pass
    assert "status 1" in str(caught.value)
    assert "ValueError: no such model" in str(caught.value)
    assert "nanobind" not in str(caught.value)
    assert str(fake.log_path) in str(caught.value)
    assert fake.survivors() == []


def test_an_engine_that_is_never_ready_is_given_up(fake: Fake) -> None:
    engine = replace(fake.engine("mute"), start_timeout_s=1.0)
    with pytest.raises(EngineError, match="not ready after 1 s"), engine:
        pass
    wait_until_gone(fake)


def test_ctrl_c_during_the_start_leaves_nothing(fake: Fake) -> None:
    def interrupt(elapsed_s: float, phase: str) -> None:
        if fake.pids_path.exists() and fake.pids_path.read_text().endswith("\n"):
            raise KeyboardInterrupt

    engine = replace(fake.engine("mute"), on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt), engine:
        pass
    assert fake.survivors() == []


def test_a_death_after_the_start_is_seen_and_takes_the_children_along(fake: Fake) -> None:
    with fake.engine("mortal") as engine:
        with httpx.Client(base_url=engine.base_url, trust_env=False) as client:
            while engine.alive():
                try:
                    client.get("/health")
                except httpx.TransportError:
                    time.sleep(0.02)
        death = engine.death()
        assert death is not None
        assert "status 7" in death
        assert "out of breath" in death
        assert fake.survivors() == []


def test_a_taken_port_is_named_before_anything_starts(fake: Fake) -> None:
    config = fake.config()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", config.port))
        taken.listen()
        engine = EngineProcess(config, fake.log_path)
        with pytest.raises(EngineError, match=rf"port {config.port} .*--port"), engine:
            pass
    assert not fake.log_path.exists()


def test_a_missing_vllm_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None)
    engine = EngineProcess(EngineConfig(model="m", port=free_port()), tmp_path / "log")
    with pytest.raises(EngineError, match=r"slotwise\[cpu\]"), engine:
        pass


PARENT = """
import sys, time
from pathlib import Path
from serving.engine import EngineConfig, EngineProcess
config = EngineConfig(model="fake", port=int(sys.argv[1]), server=(sys.executable, sys.argv[2]))
with EngineProcess(config, Path(sys.argv[3])):
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_parent(fake: Fake, how: signal.Signals) -> None:
    config = fake.config()
    command = [sys.executable, "-c", PARENT, str(config.port), str(SERVER), str(fake.log_path)]
    environment = {**os.environ, **config.env}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert len(fake.survivors()) == 2
        parent.send_signal(how)
        assert parent.wait() != 0
    wait_until_gone(fake)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_guard_ends_the_engine(fake: Fake, how: signal.Signals) -> None:
    with fake.engine() as engine:
        assert engine._guard is not None
        engine._guard.send_signal(how)
        engine._guard.wait()
        assert not engine.alive()
        assert fake.survivors() == []


def test_signals_during_the_clean_up_do_not_stop_it(fake: Fake) -> None:
    with replace(fake.engine("stubborn"), grace_s=1.0) as engine:
        assert engine._guard is not None
        while engine.alive():
            engine._guard.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert fake.survivors() == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_the_engine_dies_with_its_guard(fake: Fake) -> None:
    with fake.engine() as engine:
        assert engine._guard is not None
        server, child = fake.pids()
        engine._guard.kill()
        while lives(server):
            time.sleep(0.02)
        assert not engine.alive()
        os.kill(child, signal.SIGKILL)
