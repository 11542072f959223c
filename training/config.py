"""Settings of a whole training run: one file, flags over it."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from predictor.errors import ConfigError
from training.encoder.config import EncoderConfig
from training.fast.config import FastConfig

Kind = Literal["encoder", "fast", "blend", "lightgbm", "history"]


class TrainingConfig(BaseModel):
    """What is trained on what, and where the result goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "lightgbm"
    lengths: Path | None = Field(
        default=None, description="folder with prompts.jsonl and lengths.csv"
    )
    collected: str | None = Field(
        default=None, description="learn from this model's own lengths that ship with Slotwise"
    )
    llm: str | None = Field(default=None, description="train for this LLM of the folder alone")
    leave_out: tuple[str, ...] = Field(default=(), description="LLMs of the folder to leave out")
    sharegpt: bool = Field(default=True, description="learn from ShareGPT's answers as well")
    dataset_path: Path | None = Field(
        default=None, description="ShareGPT JSON; default: the package's"
    )
    encoder: EncoderConfig = EncoderConfig()
    fast: FastConfig = FastConfig()
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.lengths is not None and self.collected is not None:
            raise ValueError("give lengths or collected, not both")
        return self

    @model_validator(mode="after")
    def _blends(self) -> Self:
        bins = {(part.bins, part.longest) for part in (self.encoder, self.fast)}
        if self.kind == "blend" and len(bins) > 1:
            raise ValueError("a blend needs the same bins and longest for encoder and fast")
        return self


def read_config(file: Path | None, overrides: dict[str, Any]) -> TrainingConfig:
    """A YAML file (or none) with ``overrides`` over it, dotted names for inner settings.

    Raises ``ConfigError`` naming the setting at fault.
    """
    settings = {} if file is None else _content(file)
    for name, value in overrides.items():
        _put(settings, name, value)
    try:
        return TrainingConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "kind"
        raise ConfigError(f"{file or 'settings'}: {place}: {first['msg']}") from error


def given(**flags: object) -> dict[str, Any]:
    """The flags that were given; ``null`` itself can be set by :func:`assignments` alone."""
    return {name: value for name, value in flags.items() if value is not None}


def assignments(pairs: list[str]) -> dict[str, Any]:
    """``name=value`` as given on a command line, the value read as YAML."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {pair!r}: give NAME=VALUE, such as encoder.epochs=4")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {pair!r}: {value!r} is no value") from error
    return found


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}; give a readable YAML file") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected names and values")
    return content


def _put(settings: dict[str, Any], name: str, value: object) -> None:
    *path, last = name.split(".")
    for part in path:
        inner = settings.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"setting {name!r}: {part!r} holds no settings")
        settings = inner
    settings[last] = value
