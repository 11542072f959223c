"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from predictor.errors import InputError


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, creating its folder; readers never see a part of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
