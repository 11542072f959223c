"""Which conversations train, which calibrate, and which are kept for judging."""

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]

TRAIN_FRACTION = 0.7
VALIDATION_FRACTION = 0.1
_SALT = "slotwise-split-1:"


def split_of(base_id: str) -> Split:
    """70 % train, 10 % validation, 20 % test, by a hash of the conversation's base id.

    The same id falls on the same side on every machine, whatever else the file holds.
    """
    digest = hashlib.blake2b((_SALT + base_id).encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < TRAIN_FRACTION:
        return "train"
    return "validation" if position < TRAIN_FRACTION + VALIDATION_FRACTION else "test"
