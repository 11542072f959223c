"""Engines on a cluster: how many, and what each takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.cluster.connection import Node
from serving.collect.lengths import CollectSettings
from serving.engine import EngineConfig
from serving.engine.dtype import chosen
from serving.engine.layout import cpu_build

# Of every engine's CPUs, left to the tasks around it, which hardly compute.
_SPARE_CPUS = 0.5


@dataclass(frozen=True, slots=True)
class Replicas:
    """``count`` engines, each with so many ``cores``, or with one GPU."""

    count: int
    cores: int
    gpu: bool

    @classmethod
    def on(cls, nodes: Sequence[Node], count: int) -> "Replicas":
        """Spread over what is free: on CPUs as many cores for each as all can have."""
        if not cpu_build():
            return cls(count, 1, gpu=True)
        most = int(max(node.cpus for node in nodes))
        fitting = (c for c in range(most, 1, -1) if sum(node.cpus // c for node in nodes) >= count)
        return cls(count, next(fitting, 1), gpu=False)

    @staticmethod
    def needed(count: int) -> tuple[float, float]:
        """The CPUs and GPUs that must be free."""
        return float(count), 0.0 if cpu_build() else float(count)

    def stage(self, settings: CollectSettings, model: str) -> dict[str, Any]:
        """What Ray Data's engine stage is told: the settings of a single machine's engine."""
        config = EngineConfig(
            model=model,
            max_num_seqs=settings.concurrency,
            layout="standard" if self.gpu else "compact",
            env={} if self.gpu else {"OMP_NUM_THREADS": str(self.cores)},
        )
        cpus = self.cores - _SPARE_CPUS
        return {
            "engine_kwargs": {
                "max_num_seqs": config.max_num_seqs,
                "max_model_len": config.max_model_len,
                "dtype": chosen(config.dtype),
                "enforce_eager": True,
                "disable_log_stats": True,
                "distributed_executor_backend": "uni",
            },
            "runtime_env": {"env_vars": config.variables()},
            "placement_group_config": {
                "bundles": [{"CPU": cpus, "GPU": 1} if self.gpu else {"CPU": cpus}]
            },
            "concurrency": (self.count, self.count),
        }
