"""Text files: read with clear complaints, written whole or not at all."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from predictor.errors import DatasetError, InputError


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1; raises ``DatasetError``."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{file}: {error.strerror}; give a readable file") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: byte {error.start} is not UTF-8; save it as UTF-8") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def write_whole(file: Path, content: bytes) -> None:
    """Replace ``file`` in one step; raises ``InputError`` where that cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            part.write(content)
        Path(part.name).replace(file)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; give a place that can be written") from error
