"""Which conversations train, which calibrate, and which are kept for judging."""

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]

TRAIN_FRACTION = 0.7
VALIDATION_FRACTION = 0.1
_SALT = "slotwise-split-1:"
_HELD_SALT = "slotwise-held-1:"
HELD_FRACTION = 0.125


def split_of(base_id: str) -> Split:
    """70 % train, 10 % validation, 20 % test, by a hash of the conversation's base id.

    The same id falls on the same side on every machine, whatever else the file holds.
    """
    position = _position(_SALT + base_id)
    if position < TRAIN_FRACTION:
        return "train"
    return "validation" if position < TRAIN_FRACTION + VALIDATION_FRACTION else "test"


def held_for_validation(base_id: str) -> bool:
    """Whether a data set that comes split into train and test keeps this one for validation.

    One in eight of its training side, by hash.
    """
    return _position(_HELD_SALT + base_id) < HELD_FRACTION


def _position(text: str) -> float:
    """In [0, 1), spread evenly."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
