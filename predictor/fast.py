"""The fast path: hashed words and lexical features under a hazard head, in numpy alone.

A prompt costs a fraction of a millisecond on one CPU core, and nothing but numpy and scipy is
needed. The one in ``predictor/packaged`` comes with Slotwise, so that a fresh install predicts.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictor.conditioned import ConditionedPredictor, Parts
from predictor.errors import ArtifactError, DistributionError
from predictor.features import features_and_buckets
from predictor.files import npz, npz_arrays
from predictor.prompt import Prompt

Singles = NDArray[np.float32]

_STATE_FILE = "fast.json"
_WEIGHTS_FILE = "fast.npz"


class FastPredictor(ConditionedPredictor):
    """``table`` is float16[rows, K]: what each bucket of words adds to a prompt's K scores."""

    def __init__(self, parts: Parts, *, table: NDArray[np.float16]) -> None:
        super().__init__(parts)
        self._table = table
        # Summed in these: numpy is slow with halves.
        self._singles = table.astype(np.float32)

    @property
    def kind(self) -> str:
        """``fast``."""
        return "fast"

    def with_parts(self, parts: Parts) -> Self:
        """The same word vectors under another head or calibration."""
        return type(self)(parts, table=self._table)

    def encode(self, texts: Sequence[str]) -> Singles:
        """float32[n, hidden]."""
        prompts = [Prompt(text) for text in texts]
        features, buckets = features_and_buckets(prompts, len(self._table))
        pooled = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        for row, some in enumerate(buckets):
            if some.size:
                pooled[row] = self._singles[some].sum(axis=0) / np.sqrt(np.float32(some.size))
        return self.parts.head.prompt(pooled, self.parts.scaling.scaled(features))

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        halves = {k: v.astype(np.float16) for k, v in self.parts.head.weights.items()}
        return {
            _STATE_FILE: json.dumps(self.parts.state()).encode(),
            _WEIGHTS_FILE: npz({"table": self._table, **halves}),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        try:
            arrays = npz_arrays(files[_WEIGHTS_FILE])
            weights = {k: v.astype(np.float32) for k, v in arrays.items() if k != "table"}
            parts = Parts.from_state(json.loads(files[_STATE_FILE]), weights)
            return cls(parts, table=arrays["table"].astype(np.float16))
        except (KeyError, TypeError, ValueError, OSError, DistributionError) as error:
            raise ArtifactError(f"fast predictor: {error!r}; train the predictor anew") from error
