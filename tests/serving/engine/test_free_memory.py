"""The KV cache fits into what is free, on machines of a test's own."""

from pathlib import Path

import pytest

from serving.engine import memory

GIB = 1 << 30


def node(number: int, *, free_gib: float, cached_gib: float = 0.0) -> str:
    kib = {
        "MemTotal": 24 << 20,
        "MemFree": int(free_gib * (1 << 20)),
        "Active(file)": int(cached_gib * (1 << 20)),
        "Inactive(file)": 0,
        "Active(anon)": 9 << 20,
        "SReclaimable": 0,
    }
    return "".join(f"Node {number} {name}: {value:>12} kB\n" for name, value in kib.items())


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit, self.used = folder / "max", folder / "current"

    def add(self, number: int, **gib: float) -> None:
        place = self.folder / f"node{number}"
        place.mkdir()
        (place / "meminfo").write_text(node(number, **gib))

    def confine(self, *, limit: str, used_gib: float) -> None:
        self.limit.write_text(f"{limit}\n")
        self.used.write_text(f"{int(used_gib * GIB)}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(memory, "_NODES", tmp_path)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "_LIMIT", made.limit)
    monkeypatch.setattr(memory, "_USED", made.used)
    return made


@pytest.fixture
def model(tmp_path: Path) -> str:
    """One GiB of weights in two bytes a number."""
    folder = tmp_path / "model"
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(GIB)
    return str(folder)


def test_half_of_what_the_weights_leave(machine: Machine, model: str) -> None:
    machine.add(0, free_gib=10, cached_gib=4)
    assert memory.kv_cache_bytes(model, dtype="bfloat16") == 6 * GIB
    assert memory.kv_cache_bytes(model, dtype="float32") == 5.5 * GIB
    assert memory.kv_cache_bytes(model, dtype="float") == 5.5 * GIB
    assert memory.kv_cache_bytes("org/unknown-size", dtype="bfloat16") == 3.5 * GIB


def test_a_machine_with_memory_in_use_gets_less_not_an_error(machine: Machine, model: str) -> None:
    machine.add(0, free_gib=3)
    assert memory.kv_cache_bytes(model, dtype="bfloat16") == GIB // 2


def test_never_less_than_an_engine_needs(machine: Machine, model: str) -> None:
    machine.add(0, free_gib=0.1)
    assert memory.kv_cache_bytes(model, dtype="bfloat16") == 256 * memory.MIB


def test_the_fullest_node_counts(machine: Machine) -> None:
    machine.add(0, free_gib=60)
    machine.add(1, free_gib=8)
    assert memory.free_bytes() == 8 * GIB


def test_a_container_has_what_its_limit_leaves(machine: Machine) -> None:
    machine.add(0, free_gib=60)
    machine.confine(limit=str(6 * GIB), used_gib=2)
    assert memory.free_bytes() == 4 * GIB
    machine.confine(limit="max", used_gib=2)
    assert memory.free_bytes() == 60 * GIB


def test_without_linux_nothing_is_chosen(machine: Machine, model: str) -> None:
    assert memory.free_bytes() is None
    assert memory.kv_cache_bytes(model, dtype="bfloat16") is None
