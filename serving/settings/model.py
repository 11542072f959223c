"""What can be set, with its unit in its name, its default and its limits."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1 << 20

Mode = Literal["active", "shadow", "off"]


def data_folder() -> Path:
    """Where state lives that is nobody's cache: ``$XDG_DATA_HOME/slotwise``."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "slotwise"


def _default_database() -> SecretStr:
    return SecretStr(f"sqlite:///{data_folder() / 'observations.db'}")


def _default_spool(known: Mapping[str, Any]) -> Path:
    """One for each database: what waits for one must not end up in another."""
    url = known.get("database_url") or _default_database()
    name = hashlib.sha256(url.get_secret_value().encode()).hexdigest()[:8]
    return data_folder() / f"observations-{name}.spool"


class Settings(BaseSettings):
    """Every setting of the engine plug-in and the sidecar.

    Each is a key of the settings file, ``SLOTWISE_`` and its name in capitals in the environment,
    and a flag of the commands it concerns. vLLM's engine core is a process of vLLM's own making:
    the environment (and the file it names in ``SLOTWISE_CONFIG``) is the one way in.
    """

    model_config = SettingsConfigDict(env_prefix="SLOTWISE_", extra="forbid", frozen=True)

    # Scheduling
    policy: str = Field(
        default="slotwise", description="scheduling policy, or your own as MODULE:CLASS"
    )
    policy_folder: Path | None = Field(
        default=None,
        description="folder that a policy MODULE:CLASS is imported from, after all installed "
        "packages; default in commands: the current one",
    )
    mode: Mode = Field(
        default="active",
        description="active; shadow decides and records, and serves in arrival order; off",
    )
    time_box_ms: float = Field(default=10.0, gt=0, description="longest a decision may take")
    max_silence_ms: float = Field(
        default=30_000.0,
        gt=0,
        description="longest that slotwise lets a stream be silent once it has begun",
    )
    slo_config: Path | None = Field(
        default=None, description="file with the SLO classes; read anew when it changes"
    )
    step_log: Path | None = Field(default=None, description="file for one line per engine step")
    shadow_log: Path | None = Field(
        default=None, description="file for what would have been decided, in mode shadow"
    )
    replay_lengths: bool = Field(
        default=False,
        description="end a request at the recorded length that it carries; for benchmarks",
    )
    digest_file: Path | None = Field(
        default=None, description="file in which the engine says how it is, for routers"
    )
    digest_period_ms: float = Field(
        default=100.0, gt=0, description="least time between two such reports"
    )
    engine_hang_s: float = Field(
        default=60.0, gt=0, description="an engine of a cluster silent for longer is started anew"
    )
    engine_metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="port for the metrics of the scheduler in the engine; 0 takes a free one; "
        "further data-parallel engines take the next ones",
    )
    engine_metrics_host: str = Field(
        default="127.0.0.1", description="address those metrics are served on"
    )

    # Prediction
    predictor: str = Field(
        default="packaged",
        min_length=1,
        description="folder of a trained predictor, packaged, champion, candidate or a version "
        "number of the registry; none: class priors answer",
    )
    model_poll_s: float = Field(
        default=0.0,
        ge=0,
        description="seconds between two looks whether another model was promoted; 0: none",
    )
    predictor_workers: int = Field(default=1, ge=1, le=64, description="predictor processes")
    predict_deadline_ms: float = Field(
        default=50.0, gt=0, description="a prediction later than this is the class's prior"
    )
    bulk_deadline_ms: float = Field(
        default=10_000.0, gt=0, description="the same for a bulk request"
    )
    batch_items: int = Field(
        default=64, ge=1, le=4096, description="prompts a predictor is given at once"
    )
    predict_queue_items: int = Field(
        default=50_000,
        ge=1,
        description="prompts that may wait for a predictor; above, priors answer",
    )
    predictor_hang_ms: float = Field(
        default=1_000.0, gt=0, description="a predictor silent for longer on one batch is killed"
    )
    max_prompt_characters: int = Field(default=200_000, ge=1, description="longest prompt read")

    # The sidecar's door
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(
        default=8400, ge=0, le=65_535, description="port to listen on; 0 takes a free one"
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*/?$",
        description="path under which a proxy shows the sidecar, e.g. /slotwise",
    )
    api_token: SecretStr | None = Field(
        default=None, min_length=8, description="bearer token that requests must carry"
    )
    max_body_mib: float = Field(default=32.0, gt=0, le=1024, description="largest request body")
    max_items: int = Field(default=10_000, ge=1, description="most prompts in a bulk request")
    schedule_deadline_ms: float = Field(
        default=10_000.0, gt=0, description="a decision of the sidecar later than this is refused"
    )
    max_concurrency: int = Field(
        default=1_000,
        ge=1,
        description="requests and connections served at once; more are told 503",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe log line that is written"
    )

    traces_endpoint: str | None = Field(
        default=None,
        pattern="^https?://",
        description="collector of OpenTelemetry traces (OTLP over HTTP); none: no traces",
    )

    # Observations
    database_url: SecretStr = Field(
        default_factory=_default_database, description="sqlite:///FILE or postgresql://..."
    )
    retention_days: float = Field(default=30.0, gt=0, description="observations older than this go")
    retention_rows: int = Field(
        default=1_000_000, ge=1, description="the oldest go beyond this many"
    )
    spool_mib: float = Field(
        default=64.0, gt=0, description="room for observations while the database is away"
    )
    spool: Path = Field(
        default_factory=_default_spool,
        description="file for observations while the database is away; processes that share it "
        "must share the database",
    )
    store_prompts: bool = Field(default=False, description="keep prompt texts with observations")

    @property
    def max_body_bytes(self) -> int:
        """The largest request body in bytes."""
        return int(self.max_body_mib * MEBIBYTE)

    @property
    def spool_bytes(self) -> int:
        """Room in the spool in bytes."""
        return int(self.spool_mib * MEBIBYTE)
