"""Arrays as bytes, without pickles."""

from collections.abc import Mapping
from io import BytesIO
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from predictor.errors import ArtifactError


def npz(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Compressed ``.npz`` content."""
    file = BytesIO()
    np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]
    return file.getvalue()


def npz_arrays(content: bytes) -> dict[str, NDArray[np.generic]]:
    """Inverse of :func:`npz`; raises ``ArtifactError``."""
    try:
        with np.load(BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ArtifactError(f"weights: damaged ({error}); train the predictor anew") from error
