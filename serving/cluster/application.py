"""The Serve application: engines with our scheduler, an ingress with our middleware, our router."""

from typing import Any

from ray import serve
from ray.llm._internal.serve.core.configs.openai_api_models import to_model_metadata
from ray.serve.config import RequestRouterConfig
from ray.serve.deployment import Application
from ray.serve.llm import LLMConfig, build_llm_deployment
from ray.serve.llm.ingress import make_fastapi_ingress

from serving.cluster.config import ClusterConfig, cluster_config
from serving.cluster.ingress import SlotwiseIngress, ingress_app
from serving.engine.config import SAFE_PATH
from serving.engine.dtype import AUTO
from serving.engine.layout import short_spins
from serving.models import resolve
from serving.models.resolve import is_local
from serving.serve import SCHEDULER

_ROUTERS = {
    "slo": "serving.cluster.router:SloRequestRouter",
    "power-of-two": "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter",
    "round-robin": "ray.serve.experimental.round_robin_router:RoundRobinRouter",
}
# What a CPU engine needs to live beside others on one machine.
_CPU_ENGINE = {
    "enforce_eager": True,
    "dtype": AUTO,
    "distributed_executor_backend": "mp",
    "max_num_seqs": 16,
    "max_model_len": 2048,
}
_CPU_VARIABLES = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "2"}
_TRIES_EACH = 2
_VARIABLES = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", **SAFE_PATH}


def build(args: dict[str, Any]) -> Application:
    """What ``import_path: serving.cluster.application:build`` names; raises ``ConfigError``."""
    config = cluster_config(args)
    llm = llm_config(config)
    ingress = make_fastapi_ingress(SlotwiseIngress, app=ingress_app())
    return serve.deployment(
        ingress,
        name="ingress",
        num_replicas=config.ingress_replicas,
        max_ongoing_requests=10_000,
        health_check_period_s=config.health_check_period_s,
        health_check_timeout_s=config.health_check_timeout_s,
        ray_actor_options={"num_cpus": 1, "runtime_env": {"env_vars": config.variables()}},
    ).bind(
        llm_deployments={config.served_name: build_llm_deployment(llm)},
        model_cards={config.served_name: to_model_metadata(config.served_name, llm)},
    )


def llm_config(config: ClusterConfig) -> LLMConfig:
    """Ray's description of one engine."""
    model = resolve(config.model)
    cpu = config.accelerator == "cpu"
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if is_local(model) else {}
    bundle = {"CPU": max(config.cpus_per_replica - 1, 0.0)}
    if not cpu:
        bundle["GPU"] = config.gpus_per_replica
    kind = "cpu" if cpu else "gpu"
    return LLMConfig(
        model_loading_config={"model_id": config.served_name, "model_source": model},
        accelerator_config={"kind": kind},
        placement_group_config={"bundles": [bundle]},
        engine_kwargs={
            **(_CPU_ENGINE if cpu else {}),
            **config.engine,
            "scheduler_cls": SCHEDULER,
        },
        server_cls="serving.cluster.replica:SlotwiseServer",
        deployment_config={
            "num_replicas": config.replicas,
            "autoscaling_config": None,
            "max_ongoing_requests": 10_000,
            # A wrong engine argument is wrong again; two replicas that collide at start do not.
            "max_constructor_retry_count": _TRIES_EACH * config.replicas,
            "health_check_period_s": config.health_check_period_s,
            "health_check_timeout_s": config.health_check_timeout_s,
            "request_router_config": _router(config),
        },
        experimental_configs={"stream_batching_interval_ms": 0},
        runtime_env={
            "env_vars": {
                **_VARIABLES,
                **({**_CPU_VARIABLES, **short_spins()} if cpu else {}),
                **offline,
                **config.variables(),
            }
        },
    )


def _router(config: ClusterConfig) -> RequestRouterConfig:
    of_ray = config.router in ("power-of-two", "round-robin")
    kwargs = {
        "stale_s": config.digest_stale_s,
        "prefix_caching": bool(config.engine.get("enable_prefix_caching", True)),
    }
    return RequestRouterConfig(
        request_router_class=_ROUTERS.get(config.router, config.router),
        request_router_kwargs={} if of_ray else kwargs,
    )
