"""Text files: read whatever their packing, written whole or not at all."""

import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path

from predictor.errors import DatasetError, InputError
from predictor.reading import SkippedItemError
from training.gunzip import Gunzip

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
_HEAD_BYTES = 6
_UNPACKED_BYTES = 1 << 16


class CutFileError(DatasetError):
    """A packed file is cut or damaged; it is raised after all that could be read.

    ``why`` is what is wrong with it.
    """

    def __init__(self, file: Path, why: str, what: str) -> None:
        super().__init__(f"{file}: {why}; give {what}")
        self.why = why


def chunks(file: Path, sizes: Iterable[int], *, what: str = _WHAT) -> Iterator[bytes]:
    """The content piece by piece, as large as ``sizes`` says; the last one is empty.

    Raises ``DatasetError``, which is a ``CutFileError`` where the end could not be unpacked.
    """
    with _opened(file, what) as (opened, packed):
        for size in sizes:
            try:
                piece = opened.read(size)
            except OSError as error:
                raise unreadable(file, error, what) from error
            if not piece:
                _check_whole(file, packed, what)
            yield piece


def text_lines(file: Path, *, what: str = _WHAT) -> Iterator[str]:
    """The lines with whatever ends them; what is not UTF-8 becomes replacement characters.

    Raises what ``chunks`` raises; the line at which a file is cut does not come.
    """
    with _opened(file, what) as (opened, packed):
        try:
            head = opened.peek(4)
            with io.TextIOWrapper(opened, encoding_of(head), errors="replace") as lines:
                for line in lines:
                    if not line.endswith("\n"):
                        _check_whole(file, packed, what)
                    yield line
        except (OSError, UnicodeError) as error:
            raise unreadable(file, error, what) from error
        _check_whole(file, packed, what)


def read_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, as UTF-8, with their numbers from 1.

    Raises what ``chunks`` raises; the line at which a file is cut does not come.
    """
    content, cut = _content(file)
    if content.startswith(_UTF16):
        content = content.decode("utf-16", "replace").encode("utf-8", "surrogatepass")
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n" if b"\n" in content else b"\r")
    for number, line in enumerate(lines[:-1] if cut else lines, start=1):
        if line.strip():
            yield number, line
    if cut:
        raise cut


def content_of(file: Path) -> bytes:
    """All that can be read of it; raises ``DatasetError`` where that is nothing."""
    content, cut = _content(file)
    if cut and not content:
        raise cut
    return content


def encoding_of(head: bytes) -> str:
    """What a text that begins so is encoded in; a byte order mark is no part of the text."""
    return "utf-16" if head.startswith(_UTF16) else "utf-8-sig"


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
    part = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as opened:
            part = Path(opened.name)
            opened.write(content)
        part.replace(file)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; give a place that can be written") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextmanager
def _opened(file: Path, what: str) -> Iterator[tuple[io.BufferedReader, Gunzip | None]]:
    """The content, unpacked where it is gzip (whatever the suffix); raises ``DatasetError``."""
    with ExitStack() as stack:
        try:
            plain = stack.enter_context(file.open("rb"))
            head = plain.peek(_HEAD_BYTES)
        except OSError as error:
            raise unreadable(file, error, what) from error
        for magic, kind in _FOREIGN.items():
            if head.startswith(magic):
                raise DatasetError(f"{file}: {kind}; convert it to CSV or JSON lines")
        if not head.startswith(_GZIP):
            yield plain, None
            return
        packed = Gunzip(plain)
        yield stack.enter_context(io.BufferedReader(packed, _UNPACKED_BYTES)), packed


def _check_whole(file: Path, packed: Gunzip | None, what: str) -> None:
    if packed is not None and packed.damage:
        raise CutFileError(file, packed.damage, what)


def _content(file: Path) -> tuple[bytes, CutFileError | None]:
    pieces: list[bytes] = []
    try:
        for piece in chunks(file, repeat(_UNPACKED_BYTES)):
            pieces.append(piece)
            if not piece:
                break
    except CutFileError as error:
        return b"".join(pieces), error
    return b"".join(pieces), None
