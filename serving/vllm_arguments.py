"""What a user tells vLLM: flags, and the file that vLLM's ``--config`` names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from predictor.errors import ConfigError
from serving.config_file import parse

_CONFIG = "--config"
# vLLM reads no other.
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class VllmArguments:
    """``flags`` as vLLM's parser takes them; ``from_file`` the flags that its file stands for.

    The file's flags have their values beside them.
    """

    flags: tuple[str, ...]
    file: Path | None
    from_file: Mapping[str, object]

    @classmethod
    def of(cls, flags: Sequence[str]) -> "VllmArguments":
        """Read the flags and the file; raises ``ConfigError`` for what vLLM could not use."""
        flags = tuple(_without_equals(flags))
        if flags.count(_CONFIG) > 1:
            raise ConfigError(f"{_CONFIG} is given twice; put everything into one file")
        if _CONFIG not in flags:
            return cls(flags, None, {})
        place = flags.index(_CONFIG) + 1
        if place == len(flags):
            raise ConfigError(f"{_CONFIG} names no file: give {_CONFIG} FILE, YAML of vLLM's flags")
        file = Path(flags[place])
        return cls(flags, file, dict(_named(_content(file))))

    def where(self, option: str) -> str | None:
        """Where an option is given, in the user's words; ``None``: nowhere."""
        for flag in self.flags:
            if _means(flag, option):
                return flag.partition("=")[0]
        for name in self.from_file:
            if _means(name, option):
                return f"{name.removeprefix('--')} in {self.file}"
        return None

    def in_file(self, option: str) -> object:
        """The value that the file gives an option; ``None``: none."""
        return next((value for name, value in self.from_file.items() if _means(name, option)), None)

    def split(self, option: str) -> tuple[str | None, tuple[str, ...]]:
        """The value that a flag gives an option, and all flags but that one."""
        for place, flag in enumerate(self.flags):
            name, equals, value = flag.partition("=")
            if _means(name, option):
                end = place + (1 if equals else 2)
                found = value if equals else next(iter(self.flags[place + 1 : end]), None)
                return found, (*self.flags[:place], *self.flags[end:])
        return None, self.flags


def _without_equals(flags: Sequence[str]) -> Iterator[str]:
    """vLLM looks for the file's flag as a word of its own, and passes over any other spelling."""
    for flag in flags:
        name, given, value = flag.partition("=")
        if name == _CONFIG and given:
            yield from (_CONFIG, value)
        else:
            yield flag


def _content(file: Path) -> Mapping[object, object]:
    if file.suffix not in _SUFFIXES:
        raise ConfigError(f"vLLM's configuration {file}: it must be YAML; name it {file.stem}.yaml")
    content = parse(file, what="vLLM's configuration")
    if not isinstance(content, dict):
        raise ConfigError(
            f"vLLM's configuration {file}: it must hold flags and values, e.g. port: 8000"
        )
    return content


def _named(content: Mapping[object, object]) -> Iterator[tuple[str, object]]:
    """The flags that vLLM makes of the keys, with their values."""
    for name, value in content.items():
        if value is False:
            yield f"--no-{name}", value
        elif value != []:
            yield f"--{name}", value


def _means(flag: str, option: str) -> bool:
    """Whether vLLM's parser may take it for the option: by underscores, or cut short."""
    name = flag.partition("=")[0].replace("_", "-")
    return name.startswith("--") and len(name) > 2 and option.startswith(name)
