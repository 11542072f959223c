"""The command line, the engines Slotwise drives, and the reports it writes.

Importing this package loads nothing heavy: each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from predictor.lazy import lazy_names

if TYPE_CHECKING:
    from serving.predictors import find_predictor
    from serving.settings import Settings
    from serving.sidecar.app import create_app
    from serving.sidecar.client import AsyncSidecarClient, SidecarClient, SidecarError
    from serving.sidecar.schemas.observation import ObservationIn
    from serving.sidecar.schemas.predict import PromptIn
    from serving.sidecar.schemas.schedule import ScheduleIn
    from serving.simulate.config import SimConfig
    from serving.simulate.engines import run_policy
    from serving.simulate.run import run_simulation
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "AsyncSidecarClient": "serving.sidecar.client",
            "ObservationIn": "serving.sidecar.schemas.observation",
            "PromptIn": "serving.sidecar.schemas.predict",
            "ScheduleIn": "serving.sidecar.schemas.schedule",
            "Settings": "serving.settings",
            "SidecarClient": "serving.sidecar.client",
            "SidecarError": "serving.sidecar.client",
            "SimConfig": "serving.simulate.config",
            "create_app": "serving.sidecar.app",
            "find_predictor": "serving.predictors",
            "run_policy": "serving.simulate.engines",
            "run_simulation": "serving.simulate.run",
        },
    )

__all__ = [
    "AsyncSidecarClient",
    "ObservationIn",
    "PromptIn",
    "ScheduleIn",
    "Settings",
    "SidecarClient",
    "SidecarError",
    "SimConfig",
    "create_app",
    "find_predictor",
    "run_policy",
    "run_simulation",
]
