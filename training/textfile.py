"""Text files: read whatever their packing, written whole or not at all."""

import gzip
import io
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from predictor.errors import DatasetError, InputError
from predictor.reading import SkippedItemError

_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Formats that others publish in and this one does not read, by their first bytes.
_FOREIGN = {
    b"PAR1": "is a Parquet file",
    b"PK\x03\x04": "is a zip archive or a spreadsheet",
    b"\x28\xb5\x2f\xfd": "is packed by zstd",
    b"BZh": "is packed by bzip2",
    b"\xfd7zXZ": "is packed by xz",
    b"ARROW1": "is an Arrow file",
}
_WHAT = "a readable file"
_ERRORS = (OSError, EOFError, zlib.error)


def open_bytes(file: Path, *, what: str = _WHAT) -> BinaryIO:
    """The content, unpacked where it is gzip (whatever the suffix); raises ``DatasetError``."""
    try:
        with file.open("rb") as plain:
            head = plain.read(6)
        for magic, kind in _FOREIGN.items():
            if head.startswith(magic):
                raise DatasetError(f"{file}: {kind}; convert it to CSV or JSON lines")
        if head.startswith(_GZIP):
            return cast("BinaryIO", gzip.open(file, "rb"))
        return file.open("rb")
    except OSError as error:
        raise unreadable(file, error, what) from error


def content_of(file: Path) -> bytes:
    """All of it; raises ``DatasetError``."""
    with open_bytes(file) as opened:
        try:
            return opened.read()
        except _ERRORS as error:
            raise unreadable(file, error) from error


def chunks(file: Path, sizes: Iterable[int], *, what: str = _WHAT) -> Iterator[bytes]:
    """The content piece by piece, as large as ``sizes`` says; raises ``DatasetError``."""
    with open_bytes(file, what=what) as opened:
        for size in sizes:
            try:
                piece = opened.read(size)
            except _ERRORS as error:
                raise unreadable(file, error, what) from error
            yield piece


def text_lines(file: Path, *, what: str = _WHAT) -> Iterator[str]:
    """The lines with whatever ends them; what is not UTF-8 becomes replacement characters."""
    with open_bytes(file, what=what) as opened:
        try:
            head = cast("BufferedReader", opened).peek(4)
            with io.TextIOWrapper(opened, encoding_of(head), errors="replace") as lines:
                yield from lines
        except (*_ERRORS, UnicodeError) as error:
            raise unreadable(file, error, what) from error


def encoding_of(head: bytes) -> str:
    """What a text that begins so is encoded in; a byte order mark is no part of the text."""
    return "utf-16" if head.startswith(_UTF16) else "utf-8-sig"


def read_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, as UTF-8, with their numbers from 1."""
    content = content_of(file)
    if content.startswith(_UTF16):
        content = content.decode("utf-16", "replace").encode("utf-8", "surrogatepass")
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            yield number, line


def decoded(line: bytes) -> str:
    """One line; raises ``SkippedItemError`` where it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise SkippedItemError("not UTF-8", line[error.start : error.start + 8]) from error


def unreadable(file: Path, error: Exception, what: str = _WHAT) -> DatasetError:
    """The error for a file that cannot be read, or is cut or damaged."""
    why = getattr(error, "strerror", None) or error
    return DatasetError(f"{file}: {why}; give {what}")


def write_whole(file: Path, content: bytes) -> None:
    """Replace ``file`` in one step; raises ``InputError`` where that cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            part.write(content)
        Path(part.name).replace(file)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; give a place that can be written") from error
