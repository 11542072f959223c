"""Unpacks gzip as far as it can be read, also where it is cut or damaged."""

import io
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PACKED_BYTES = 1 << 16
# A gzip header, not a zlib one.
_GZIP_BITS = 31
_MAGIC = b"\x1f\x8b"


class Gunzip(io.RawIOBase):
    """The unpacked content of gzip members one after another.

    Where nothing more can be unpacked, the content ends and ``damage`` says why; it is empty while
    all is well. Whoever needs all of the content asks for it at the end.
    """

    def __init__(self, packed: BinaryIO) -> None:
        self.damage = ""
        self._packed = packed
        self._member = zlib.decompressobj(_GZIP_BITS)
        self._ended = False
        self._pending = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill as much of ``buffer`` as is at hand; 0 at the end."""
        room = memoryview(buffer).cast("B")
        while not self._ready and not self._ended:
            self._ready = memoryview(self._more())
        count = min(len(room), len(self._ready))
        room[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _more(self) -> bytes:
        """The next piece of the content, which may be empty before the end."""
        try:
            packed = self._pending or self._packed.read(_PACKED_BYTES)
        except OSError as error:
            return self._stop(f"cannot be read to its end ({error.strerror})")
        self._pending = b""
        if self._member.eof:
            packed = packed.lstrip(b"\0")  # padding, as on tapes
            if packed and not packed.startswith(_MAGIC[: len(packed)]):
                return self._stop("the gzip data are followed by something else")
            if packed:
                self._member = zlib.decompressobj(_GZIP_BITS)
        if not packed:
            return self._stop("" if self._member.eof else "the gzip data are cut")
        before = self._member.copy()
        try:
            content = self._member.decompress(packed)
        except zlib.error:
            return self._stop("the gzip data are damaged", _before_fault(before, packed))
        self._pending = self._member.unused_data
        return content

    def _stop(self, damage: str, content: bytes = b"") -> bytes:
        self._ended, self.damage = True, damage
        return content


def _before_fault(member: "zlib._Decompress", packed: bytes) -> bytes:
    """What comes before the first byte that cannot be unpacked."""
    found = bytearray()
    for place in range(len(packed)):
        try:
            found += member.decompress(packed[place : place + 1])
        except zlib.error:
            break
    return bytes(found)
