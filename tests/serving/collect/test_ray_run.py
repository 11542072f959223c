"""A collection on Ray, with engines made up: what is asked, kept, joined and refused."""

import gzip
import io
import json
from contextlib import contextmanager

import pytest
from rich.console import Console

from predictor.errors import DatasetError, EngineError
from serving.cluster.connection import Cluster, Node
from serving.collect import ray_run, run
from serving.collect.gathering import Answer
from serving.collect.lengths import CollectSettings, Row, kept_rows, write_prompts
from serving.collect.ray_run import OnRay, run_on_ray
from serving.collect.replicas import Replicas
from serving.collect.shards import Shards
from training.lengths import read_lengths


class Engines:
    """Answers each prompt with the length of its text, until told to fail."""

    def __init__(self):
        self.asked = []
        self.fail_after = None
        self.broken = ()
        self.connected = []

    @contextmanager
    def connect(self, address, **wanted):
        self.connected.append((address, wanted))
        yield Cluster("head:1", local=address is None, nodes=(Node(2.0, 0.0),))

    def answers(self, prompts, settings, model, replicas, log):
        print("noise of an engine")
        for number, asked in enumerate(prompts):
            if number == self.fail_after:
                raise self.fault
            self.asked.append(asked.id)
            for _ in range(settings.samples):
                if asked.id in self.broken:
                    yield Answer(asked.id, 0, 0, "ValueError: too long")
                else:
                    yield Answer(asked.id, 3, min(len(asked.text), settings.max_tokens))


@pytest.fixture
def engines(monkeypatch):
    made_up = Engines()
    monkeypatch.setattr(ray_run, "connect", made_up.connect)
    monkeypatch.setattr(ray_run, "answers", made_up.answers)
    monkeypatch.setattr(ray_run, "resolve", lambda model: model)
    monkeypatch.setattr(ray_run, "check_vllm", lambda: None)
    monkeypatch.setattr("serving.collect.replicas.cpu_build", lambda: True)
    return made_up


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "asked.jsonl"
    lines = [json.dumps({"id": f"p{n}", "prompt": "x" * (n + 1)}) for n in range(6)]
    file.write_text("\n".join(lines))
    return file


def collect(prompts, *, private=False, shard_prompts=2, **changes):
    settings = CollectSettings(
        base_url="", **{"model": "m", "samples": 2, "max_tokens": 4, **changes}
    )
    output = prompts.with_name("out") / "lengths.csv.gz"
    told = io.StringIO()
    run_on_ray(
        prompts,
        output,
        settings,
        OnRay(shard_prompts=shard_prompts),
        private=private,
        console=Console(file=told),
    )
    return told.getvalue()


def left(prompts):
    return sorted(file.name for file in prompts.with_name("out").iterdir())


def test_lengths_are_those_of_a_single_machine(engines, prompts):
    told = collect(prompts)
    assert "6 of 6 prompts answered" in told
    assert "noise" not in told
    folder = prompts.with_name("out")
    rows = read_lengths(folder)
    assert rows.samples.tolist() == [[n, n] for n in (1, 2, 3, 4, 4, 4)]
    assert rows.cut.sum() == 6  # those that reached max_tokens
    assert left(prompts) == ["lengths.csv.engine.log", "lengths.csv.gz", "prompts.jsonl.gz"]
    assert "noise" in (folder / "lengths.csv.engine.log").read_text()


def test_private_mode_keeps_no_text(engines, prompts, tmp_path):
    collect(prompts, private=True)
    asked = run.read_prompts(prompts)
    write_prompts(tmp_path / "single.jsonl.gz", asked, private=True)
    content = (prompts.with_name("out") / "prompts.jsonl.gz").read_bytes()
    assert content == (tmp_path / "single.jsonl.gz").read_bytes()
    assert b"xx" not in gzip.decompress(content)


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), EngineError("the engines gave up")])
def test_an_interrupted_run_goes_on_with_what_is_missing(engines, prompts, fault):
    engines.fail_after, engines.fault = 3, fault
    with pytest.raises(type(fault)):
        collect(prompts)
    assert left(prompts) == ["lengths.csv.engine.log", "lengths.csv.gz"]
    engines.fail_after = None
    assert "6 of 6" in collect(prompts)
    assert sorted(engines.asked) == [f"p{n}" for n in range(6)]


def test_with_everything_answered_no_cluster_is_asked_for(engines, prompts):
    collect(prompts)
    assert "6 of 6" in collect(prompts)
    assert len(engines.connected) == 1


def test_more_samples_ask_again(engines, prompts):
    collect(prompts)
    collect(prompts, samples=3)
    assert len(engines.asked) == 12


@pytest.mark.parametrize(
    "changed", [{"model": "n"}, {"temperature": 0.5}, {"top_p": 0.5}, {"max_tokens": 3}]
)
def test_other_settings_do_not_mix(engines, prompts, changed):
    collect(prompts)
    with pytest.raises(DatasetError, match="other settings"):
        collect(prompts, **changed)
    assert len(engines.connected) == 1


def test_prompts_that_failed_are_told_and_asked_again(engines, prompts):
    engines.broken = ("p2", "p3")
    with pytest.raises(EngineError, match=r"2 prompts could not be answered, 'p2'.*too long"):
        collect(prompts)
    assert len(read_lengths(prompts.with_name("out")).samples) == 4
    engines.broken, engines.asked = (), []
    collect(prompts)
    assert engines.asked == ["p2", "p3"]


def test_a_single_machine_goes_on_where_a_run_on_ray_was_killed(engines, prompts, monkeypatch):
    output = prompts.with_name("out") / "lengths.csv.gz"
    settings = CollectSettings(base_url="http://nobody", model="m", samples=2, max_tokens=4)
    shards = Shards(output, settings)
    shards.write(0, {"p0": Row("p0", 3, (1, 1))})

    async def asked(todo, settings, output, *, served_name, progress):
        return len(kept_rows(output, settings))

    monkeypatch.setattr(run, "collect", asked)
    told = io.StringIO()
    run.run_collecting(prompts, output, settings, private=False, console=Console(file=told))
    assert "1 of 6" in told.getvalue()
    assert not shards.folder.exists()


@pytest.mark.parametrize(
    ("nodes", "count", "cores"),
    [
        ([2.0], 1, 2),
        ([2.0], 2, 1),
        ([2.0], 5, 1),  # logical CPUs can be declared beyond the machine's cores
        ([8.0, 8.0], 2, 8),
        ([8.0, 4.0], 2, 4),
        ([8.0, 4.0], 3, 4),
        ([5.5, 1.0, 1.0], 2, 2),
    ],
)
def test_cores_are_shared_out(engines, nodes, count, cores):
    free = [Node(cpus, 0.0) for cpus in nodes]
    assert Replicas.on(free, count) == Replicas(count, cores, gpu=False)
    assert Replicas.needed(count) == (count, 0.0)


def test_an_engine_of_its_own_takes_its_share_and_leaves_some(engines):
    settings = CollectSettings(base_url="", model="m", concurrency=7)
    stage = Replicas(2, 3, gpu=False).stage(settings, "m")
    assert stage["placement_group_config"] == {"bundles": [{"CPU": 2.5}]}
    assert stage["concurrency"] == (2, 2)
    assert stage["engine_kwargs"]["max_num_seqs"] == 7
    assert stage["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "3"


def test_with_vllm_for_gpus_each_engine_takes_one(monkeypatch):
    for module in ("serving.collect.replicas", "serving.engine.layout"):
        monkeypatch.setattr(f"{module}.cpu_build", lambda: False)
    settings = CollectSettings(base_url="", model="m")
    stage = Replicas.on([Node(8.0, 4.0)], 3).stage(settings, "m")
    assert Replicas.needed(3) == (3.0, 3.0)
    assert stage["placement_group_config"]["bundles"][0]["GPU"] == 1
    assert "VLLM_CPU_OMP_THREADS_BIND" not in stage["runtime_env"]["env_vars"]
