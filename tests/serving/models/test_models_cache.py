"""The cache of prepared models, with a converter that writes two small files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from predictor.errors import ModelError
from serving.models import cache, manifest

SOURCE = "package 1.0"


class Builder:
    """Fills a folder and counts how often."""

    def __init__(self, text: str = "weights") -> None:
        self.text = text
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_text(self.text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny"


@pytest.fixture
def builder() -> Builder:
    return Builder()


def ensure(folder: Path, builder: Builder, *, source: str = SOURCE, verify: bool = False):
    return cache.ensure(folder, source=source, build=builder, verify=verify)


def test_a_folder_is_built_once(folder: Path, builder: Builder) -> None:
    assert ensure(folder, builder) == folder
    ensure(folder, builder)
    ensure(folder, builder, verify=True)
    assert builder.calls == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == [".tiny.lock", "tiny"]


def test_the_manifest_tells_sizes_hashes_and_the_source(folder: Path, builder: Builder) -> None:
    ensure(folder, builder)
    document = json.loads((folder / manifest.NAME).read_text())
    assert document["source"] == SOURCE
    entry = document["files"]["config.json"]
    assert entry["size"] == 2
    assert entry["sha256"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_file_cut_short_is_noticed(folder: Path, builder: Builder) -> None:
    ensure(folder, builder)
    (folder / "model.safetensors").write_text("weigh")
    ensure(folder, builder)
    assert builder.calls == 2
    assert (folder / "model.safetensors").read_text() == "weights"


def test_a_lost_file_is_noticed(folder: Path, builder: Builder) -> None:
    ensure(folder, builder)
    (folder / "config.json").unlink()
    ensure(folder, builder)
    assert builder.calls == 2


def test_changed_bytes_of_the_same_size_are_noticed(folder: Path, builder: Builder) -> None:
    ensure(folder, builder)
    (folder / "model.safetensors").write_text("WEIGHTS")
    os.utime(folder / "model.safetensors", ns=(1, 1))
    ensure(folder, builder)
    assert builder.calls == 2


def test_changed_bytes_behind_an_old_time_are_noticed_on_request(
    folder: Path, builder: Builder
) -> None:
    ensure(folder, builder)
    path = folder / "model.safetensors"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_text("WEIGHTS")
    os.utime(path, ns=times)
    ensure(folder, builder)
    assert builder.calls == 1
    ensure(folder, builder, verify=True)
    assert builder.calls == 2


def test_a_copied_folder_is_read_once_and_then_trusted(folder: Path, builder: Builder) -> None:
    ensure(folder, builder)
    os.utime(folder / "config.json", ns=(1, 1))
    ensure(folder, builder)
    assert builder.calls == 1
    found = manifest.read(folder)
    assert found is not None
    assert found.files["config.json"].mtime_ns == 1


def test_another_version_is_built_anew(folder: Path, builder: Builder) -> None:
    ensure(folder, builder)
    ensure(folder, builder, source="package 2.0")
    assert builder.calls == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"source": 1, "files": {"a": {"size": 1}}}']
)
def test_an_unreadable_manifest_means_half_written(
    folder: Path, builder: Builder, text: str
) -> None:
    ensure(folder, builder)
    (folder / manifest.NAME).write_text(text)
    ensure(folder, builder)
    assert builder.calls == 2


def test_a_builder_that_fails_leaves_nothing_behind(folder: Path) -> None:
    def fail(target: Path) -> None:
        (target / "config.json").write_text("{}")
        raise ModelError("no")

    with pytest.raises(ModelError):
        cache.ensure(folder, source=SOURCE, build=fail)
    assert [path.name for path in folder.parent.iterdir()] == [".tiny.lock"]


def test_a_failed_rebuild_keeps_what_was_there(folder: Path, builder: Builder) -> None:
    ensure(folder, builder)

    def fail(_: Path) -> None:
        raise ModelError("no")

    with pytest.raises(ModelError):
        cache.ensure(folder, source="package 2.0", build=fail)
    ensure(folder, builder)
    assert builder.calls == 1


def test_leftovers_of_a_killed_builder_are_removed(folder: Path, builder: Builder) -> None:
    leftover = folder.parent / ".tiny-abc"
    leftover.mkdir(parents=True)
    (leftover / "model.safetensors").write_text("wei")
    ensure(folder, builder)
    assert not leftover.exists()


RACER = """
import sys, time
from pathlib import Path
from serving.models import cache

def build(folder):
    with Path(sys.argv[2]).open("a") as calls:
        calls.write("x")
    (folder / "a").write_text("1")
    time.sleep(0.2)
    (folder / "b").write_text("2")

cache.ensure(Path(sys.argv[1]), source="s", build=build)
assert (Path(sys.argv[1]) / "b").read_text() == "2"
"""


def test_of_racing_processes_one_builds_and_all_find_it_whole(folder: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    command = [sys.executable, "-c", RACER, str(folder), str(calls)]
    racers = [subprocess.Popen(command) for _ in range(4)]
    assert [racer.wait() for racer in racers] == [0] * 4
    assert calls.read_text() == "x"


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_without_a_valid_xdg_folder_the_cache_is_at_home(
    value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_home() == tmp_path / ".cache" / "slotwise" / "models"
