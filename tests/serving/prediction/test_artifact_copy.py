import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from predictor.errors import PredictionError
from serving.prediction.artifact_copy import artifact_copy

DIES = """
import sys, tempfile
from pathlib import Path
from serving.prediction.artifact_copy import artifact_copy
tempfile.tempdir = sys.argv[1]
print(artifact_copy(Path(sys.argv[2])).path, flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder to copy; copies go to a place of their own."""
    folder, copies = tmp_path / "model", tmp_path / "copies"
    folder.mkdir()
    copies.mkdir()
    (folder / "artifact.json").write_text("{}")
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    return folder


def of_a_killed_process(source):
    command = [sys.executable, "-c", DIES, tempfile.gettempdir(), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip())


def test_it_outlives_its_source_until_it_is_removed(source):
    copy = artifact_copy(source)
    (source / "artifact.json").unlink()
    assert (copy.path / "artifact.json").read_text() == "{}"
    copy.remove()
    copy.remove()
    assert not copy.path.exists()


def test_no_place_for_a_copy_is_our_error(source, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(source / "gone"))
    with pytest.raises(PredictionError, match=r"no temporary folder.*TMPDIR"):
        artifact_copy(source)


def test_copies_of_killed_processes_are_deleted_and_no_others(source):
    orphan, young = of_a_killed_process(source), of_a_killed_process(source)
    assert orphan.is_dir()
    living = artifact_copy(source)
    for folder in (orphan, living.path):
        os.utime(folder, (1, 1))
    os.utime(young)
    other = artifact_copy(source)
    assert not orphan.is_dir()
    assert young.is_dir()
    assert living.path.is_dir()
    for copy in (living, other):
        copy.remove()


def test_a_source_that_is_gone_leaves_nothing(source):
    with pytest.raises(PredictionError, match="cannot be read"):
        artifact_copy(source / "nowhere")
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
