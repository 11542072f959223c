import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from predictor.errors import PredictionError
from serving.prediction.artifact_copy import ArtifactCopy

DIES = """
import sys, tempfile
from pathlib import Path
from serving.prediction.artifact_copy import ArtifactCopy
tempfile.tempdir = sys.argv[1]
print(ArtifactCopy.of(Path(sys.argv[2])).folder, flush=True)
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
    copy = ArtifactCopy.of(source)
    (source / "artifact.json").unlink()
    assert (copy.folder / "artifact.json").read_text() == "{}"
    copy.remove()
    copy.remove()
    assert not copy.folder.exists()


def test_copies_of_killed_processes_are_deleted_and_no_others(source):
    orphan, young = of_a_killed_process(source), of_a_killed_process(source)
    assert orphan.is_dir()
    living = ArtifactCopy.of(source)
    for folder in (orphan, living.folder):
        os.utime(folder, (1, 1))
    os.utime(young)
    other = ArtifactCopy.of(source)
    assert not orphan.is_dir()
    assert young.is_dir()
    assert living.folder.is_dir()
    for copy in (living, other):
        copy.remove()


def test_a_source_that_is_gone_leaves_nothing(source):
    with pytest.raises(PredictionError, match="cannot be read"):
        ArtifactCopy.of(source / "nowhere")
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
