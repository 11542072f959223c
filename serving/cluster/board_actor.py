"""The board as a Ray actor that anybody may start and everybody finds."""

from typing import Any

import ray

from serving.cluster.board import SnapshotBoard
from serving.cluster.names import BOARD, NAMESPACE


def board() -> Any:
    """Its handle; the first who asks starts it. Ray starts it again whenever it dies."""
    return (
        ray.remote(SnapshotBoard)
        .options(
            name=BOARD,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            num_cpus=0,
        )
        .remote()
    )
