"""What the scheduler class inside the engine process is told, by ``SLOTWISE_*`` variables."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EngineSettings(BaseSettings):
    """Settings of the vLLM scheduler class, read once when the engine starts.

    The engine core is a process of vLLM's own making, so the environment is the one way in.
    """

    model_config = SettingsConfigDict(env_prefix="SLOTWISE_", extra="ignore")

    policy: str = Field(default="slotwise", description="scheduling policy")
    slo_config: Path | None = Field(default=None, description="file with the SLO classes")
    step_log: Path | None = Field(default=None, description="file for one line per engine step")
    time_box_ms: float = Field(default=10.0, gt=0, description="longest a decision may take")
