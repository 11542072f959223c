"""Files that people write by hand: YAML, TOML or JSON, without repeated keys."""

import json
import tomllib
from collections.abc import Callable, Hashable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from predictor.errors import ConfigError


def parse(path: Path, *, what: str, absent: str = "check the path") -> object:
    """Return the content; raises ``ConfigError``, which calls the file ``what``.

    ``absent``: what to do if there is no such file.
    """
    parser = _PARSERS.get(path.suffix.lower())
    if parser is None:
        raise ConfigError(
            f"{what} {path}: cannot tell its format from the suffix '{path.suffix}'; "
            f"name it {', '.join(_PARSERS)}"
        )
    try:
        return parser(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{what} {path}: no such file; {absent}") from None
    except OSError as error:
        raise ConfigError(
            f"{what} {path}: cannot be read ({error.strerror}); give a readable file"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind = path.suffix.lower().lstrip(".")
        detail = " ".join(str(error).split())
        raise ConfigError(f"{what} {path}: not valid {kind} ({detail}); correct the file") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant."""
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"use one of {', '.join(names)}"


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without repeated keys, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"key '{key.value}' stands twice, again on line {line}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str) -> object:
    return yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader


def _parse_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_unique_pairs)


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content: dict[str, object] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"key '{key}' stands twice")
        content[key] = value
    return content


_PARSERS: dict[str, Callable[[str], object]] = {
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".toml": tomllib.loads,
    ".json": _parse_json,
}
