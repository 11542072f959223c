"""The board as a Ray actor that anybody may start and everybody finds."""

from typing import Any

import ray

from serving.cluster.board import SnapshotBoard
from serving.cluster.names import BOARD, NAMESPACE


class BoardLink:
    """A way to the board; after a failure the next call looks for it anew."""

    def __init__(self) -> None:
        self._handle: Any = None

    @property
    def actor(self) -> Any:
        """Its handle; the first who asks starts it, and Ray starts it again whenever it dies."""
        if self._handle is None:
            self._handle = (
                ray.remote(SnapshotBoard)
                .options(
                    name=BOARD,
                    namespace=NAMESPACE,
                    lifetime="detached",
                    get_if_exists=True,
                    max_restarts=-1,
                    num_cpus=0,
                    # Not in the placement group of whoever starts it, which goes with that one.
                    scheduling_strategy="DEFAULT",
                )
                .remote()
            )
        return self._handle

    def end(self) -> None:
        """With its fleet."""
        ray.kill(self.actor)
        self._handle = None

    def lost(self) -> None:
        """A call failed."""
        self._handle = None
