"""A run on Ray is killed, nothing of it is left, and the next one goes on with a real engine."""

import csv
import gzip
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from waiting import HANG_S, wait_until

ROOT = Path(__file__).parents[3]
MAIN = "from serving.cli import main; main()"
# In the place of the engines, the first time: three prompts answered, and then none for long.
STUCK = f"""
import time
from serving.collect import ray_run
from serving.collect.gathering import Answer

def answers(prompts, settings, *rest):
    for asked in prompts[:3]:
        for _ in range(settings.samples):
            yield Answer(asked.id, 7, 5)
    time.sleep(600)

ray_run.answers = answers
{MAIN}
"""


@pytest.fixture
def command(tmp_path, model_folder):
    """Starts ``slotwise collect --ray``; all of its processes bear a mark."""
    prompts = [f"Name {n} colours of the sea." for n in range(2, 8)] + ["far too long " * 2000]
    lines = [json.dumps({"id": f"p{n}", "prompt": text}) for n, text in enumerate(prompts)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    options = {
        "--prompts": tmp_path / "prompts.jsonl",
        "--output": tmp_path / "out/lengths.csv.gz",
        "--model": model_folder,
        "--samples": 2,
        "--max-tokens": 6,
        "--concurrency": 4,
        "--shard-prompts": 3,
    }
    words = [str(word) for option in options.items() for word in option]
    # Ray keeps its token in the home folder; a cluster of somebody else's is none of ours.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env = {**clean, "HOME": str(tmp_path), "COLLECT_TEST_MARK": uuid4().hex}

    def start(code):
        return subprocess.Popen(
            [sys.executable, "-c", code, "collect", "--ray", *words],
            env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    start.mark = env["COLLECT_TEST_MARK"]
    yield start
    for process in marked(start.mark):
        process.kill()


def marked(mark):
    """The processes that a run left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("COLLECT_TEST_MARK") == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.engine
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra: cluster)")
def test_a_killed_run_leaves_nothing_but_its_shards_and_goes_on(command, tmp_path):
    output = tmp_path / "out/lengths.csv.gz"
    shard = tmp_path / "out/lengths.csv.gz.shards/000000.csv.gz"
    killed = command(STUCK)
    wait_until(shard.exists, alive=lambda: killed.poll() is None, what="the first shard")
    assert len(marked(command.mark)) > 2  # Ray's own processes
    killed.kill()
    killed.communicate()
    wait_until(lambda: not marked(command.mark), what="the end of Ray")
    assert shard.exists()
    assert not output.exists()

    going_on = command(MAIN)
    told, _ = going_on.communicate(timeout=HANG_S)
    assert going_on.returncode == 1, told
    assert "6 of 7 prompts answered" in told
    assert "1 prompts could not be answered, 'p6'" in told
    wait_until(lambda: not marked(command.mark), what="the end of Ray")
    assert sorted(file.name for file in output.parent.iterdir()) == [
        "lengths.csv.engine.log", "lengths.csv.gz", "prompts.jsonl.gz",
    ]  # fmt: skip
    rows = list(csv.DictReader(gzip.decompress(output.read_bytes()).decode().splitlines()))
    assert [row["prompt_id"] for row in rows] == [f"p{n}" for n in range(6)]
    assert {(row["input_size"], row["output_sizes"]) for row in rows[:3]} == {("7", "5 5")}
    for row in rows[3:]:
        assert int(row["input_size"]) > 30  # with the template's system message
        assert [1 <= int(size) <= 6 for size in row["output_sizes"].split()] == [True, True]
