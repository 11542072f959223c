"""A real vLLM engine answers a real replay."""

import os
from pathlib import Path

import pytest

from scheduler.slo import Slo
from serving.bench.replay import Replay, ReplayRequest
from serving.engine import EngineConfig, EngineProcess, free_port


def request(number: int, tokens: int) -> ReplayRequest:
    return ReplayRequest(
        request_id=f"r{number}",
        arrival_s=0.1 * number,
        prompt=f"Tell me {number} things about the sea.",
        slo_class="chat",
        prompt_tokens=10,
        recorded_tokens=tokens,
        max_tokens=tokens,
    )


def group_members(group: int) -> list[str]:
    """Processes of the group, from /proc: the third field after the name is the group."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(entry.parent.name)
    return members


@pytest.mark.engine
async def test_vllm_gives_forced_lengths_and_leaves_nothing(
    model_folder: Path, tmp_path: Path
) -> None:
    phases: list[str] = []
    config = EngineConfig(model=str(model_folder), port=free_port(), max_num_seqs=4)
    engine = EngineProcess(
        config, tmp_path / "log", on_progress=lambda elapsed_s, phase: phases.append(phase)
    )
    with engine:
        assert engine._guard is not None
        server = int(
            Path(f"/proc/{engine._guard.pid}/task/{engine._guard.pid}/children").read_text()
        )
        group = os.getpgid(server)
        assert len(group_members(group)) > 1
        requests = [request(number, tokens) for number, tokens in enumerate((5, 9, 1, 17, 3, 8))]
        too_long = request(6, 5000)
        slos = {"chat": Slo(e2e_s=600)}
        replay = Replay(
            [*requests, too_long],
            engine.base_url,
            config.served_name,
            slos,
            300,
            seed=1,
            engine_death=engine.death,
        )
        await replay.run()
    assert group_members(group) == []
    assert "loading the weights" in phases
    records = {record.request_id: record for record in replay.records}
    assert records.pop("r6").status == "failed"
    assert [records[f"r{n}"].output_tokens for n in range(6)] == [5, 9, 1, 17, 3, 8]
    assert all(record.met for record in records.values())
    assert replay.error is None
