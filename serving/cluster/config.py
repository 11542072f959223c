"""What a fleet is made of, as the command line and a Serve config file say it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from predictor.errors import ConfigError

# A promoted model is everywhere after this and the time that it takes to load.
_MODEL_POLL_S = 15.0


# What must not stand in a config file, nor be read off a dashboard.
SECRETS = ("database_url", "api_token")


class ClusterConfig(BaseModel):
    """The ``args`` of the application ``serving.cluster.application:build``.

    ``engine`` are vLLM's engine arguments by name, ``settings`` those of Slotwise by name.
    ``router`` is ours, one of Ray's, or a class of yours as ``module:Class``, whose
    ``initialize_state`` is given what ours is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    name: str | None = None
    replicas: int = Field(default=1, ge=1, le=4096)
    ingress_replicas: int = Field(default=1, ge=1, le=256)
    accelerator: Literal["cpu", "gpu"] = "gpu"
    cpus_per_replica: float = Field(default=2.0, gt=0)
    gpus_per_replica: float = Field(default=1.0, ge=0)
    router: str = Field(default="slo", pattern=r"^(slo|power-of-two|round-robin|[\w.]+:\w+)$")
    digest_stale_s: float = Field(default=3.0, gt=0)
    health_check_period_s: float = Field(default=2.0, gt=0)
    health_check_timeout_s: float = Field(default=10.0, gt=0)
    engine: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @property
    def served_name(self) -> str:
        """What requests call the model."""
        return self.name or self.model

    @property
    def cpus(self) -> float:
        """Logical CPUs that all of it takes: engines, and ingresses with one each."""
        return self.replicas * self.cpus_per_replica + self.ingress_replicas

    @property
    def gpus(self) -> float:
        """GPUs that all of it takes."""
        return self.replicas * self.gpus_per_replica if self.accelerator == "gpu" else 0.0

    def variables(self) -> dict[str, str]:
        """The settings as ``SLOTWISE_*`` variables."""
        settings = {"model_poll_s": _MODEL_POLL_S, **self.settings}
        return {f"SLOTWISE_{name.upper()}": str(value) for name, value in settings.items()}


def cluster_config(fields: dict[str, Any]) -> ClusterConfig:
    """Read them; raises ``ConfigError`` that names the field."""
    try:
        return ClusterConfig.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise ConfigError(f"cluster: {place}: {fault['msg']}") from None
