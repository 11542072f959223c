"""Settings from a file, the environment and flags, later ones over earlier ones."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from predictor.errors import ConfigError
from serving.config_file import nearest, parse
from serving.settings.model import Settings

PREFIX = "SLOTWISE_"
FILE_VARIABLE = "SLOTWISE_CONFIG"
# Where a maintainer's copy of third-party data lies; tests read it, no setting of the product.
_NO_SETTINGS = {FILE_VARIABLE, "SLOTWISE_DATA"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and where each came from: ``default``, the file's path, a variable, a flag."""

    settings: Settings
    sources: Mapping[str, str]


def load(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    """Read ``file`` (or the one that ``SLOTWISE_CONFIG`` names) < ``SLOTWISE_*`` < ``flags``.

    A flag that is ``None`` was not given. Raises ``ConfigError`` with the source, the key at
    fault and what to write instead; unknown keys are errors too.
    """
    if file is None and os.environ.get(FILE_VARIABLE):
        file = Path(os.environ[FILE_VARIABLE])
    _refuse_unknown_variables()
    values: dict[str, Any] = {}
    sources = dict.fromkeys(Settings.model_fields, "default")
    for content, source in (
        (_from_file(file), str(file)),
        (EnvSettingsSource(Settings)(), None),
        ({name: value for name, value in (flags or {}).items() if value is not None}, "--"),
    ):
        values.update(content)
        sources.update({name: _source(name, source) for name in content})
    try:
        return Loaded(Settings(**values), sources)
    except ValidationError as error:
        raise ConfigError(_message(error, sources)) from None


def _source(name: str, source: str | None) -> str:
    if source is None:
        return f"{PREFIX}{name.upper()}"
    return f"--{name.replace('_', '-')}" if source == "--" else source


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    content = parse(file, what="settings file")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"settings file {file}: it must hold keys and values, e.g. port: 8400")
    for name in content:
        if name not in Settings.model_fields:
            hint = nearest(str(name), Settings.model_fields)
            raise ConfigError(f"settings file {file}: unknown key '{name}': {hint}")
    return content


def _refuse_unknown_variables() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _NO_SETTINGS
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise ConfigError(f"environment: unknown variable '{name}': {nearest(name, known)}")


def _message(error: ValidationError, sources: Mapping[str, str]) -> str:
    """Explain the first fault and count the others; never show a secret's value."""
    faults = error.errors(include_url=False, include_input=False)
    name = str(faults[0]["loc"][0])
    more = f" ({len(faults) - 1} more like it)" if len(faults) > 1 else ""
    return f"setting '{name}' from {sources.get(name, 'default')}: {_explain(faults[0])}{more}"


def _explain(fault: ErrorDetails) -> str:
    said = fault["msg"].removeprefix("Value error, ")
    return f"{said[0].lower()}{said[1:]}; see `slotwise config show`"
