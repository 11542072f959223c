"""Names what a policy compiles after its warm-up: ``python kernels_after_warmup.py POLICY``."""

import importlib
import pkgutil
import sys

import numpy as np
from numba.core.registry import CPUDispatcher

import scheduler
from predictor.distribution import LengthDistribution, log_edges
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.registry import create_policy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import EngineRules, SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.warmup import warm_up

LATENCY = StepLatency.linear(step_s=1e-2, decode_s=1e-3, prompt_token_s=2e-4)
LIMITS = Limits(max_num_seqs=6, max_batched_tokens=256, kv_tokens=4000, steps_ahead=1)
PROMISES = (Slo(e2e_s=8.0), Slo(ttft_s=1.0, tpot_s=0.03), Slo())


def compiled():
    """Kernels of what an engine runs (its simulation aside), with their argument types."""
    for module in pkgutil.walk_packages(scheduler.__path__, "scheduler."):
        if not module.name.startswith("scheduler.simulator"):
            importlib.import_module(module.name)
    modules = [m for name, m in sys.modules.items() if name.startswith(("scheduler", "predictor"))]
    kernels = {v for module in modules for v in vars(module).values() if type(v) is CPUDispatcher}
    return {
        f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}{signature}"
        for kernel in kernels
        if not kernel.py_func.__module__.startswith("scheduler.simulator")
        for signature in kernel.signatures
    }


def requests(count=300, seed=0):
    """More than the engine can serve, with and without promises, some of them past saving."""
    rng = np.random.default_rng(seed)
    edges = log_edges(max_tokens=512, bins=16)
    for number, arrival_s in enumerate(np.cumsum(rng.exponential(0.1, count))):
        yield SimRequest(
            request_id=str(number),
            arrival_s=float(arrival_s),
            prompt_tokens=int(rng.integers(1, 600)),
            output_tokens=int(rng.integers(1, 60)),
            slo=PROMISES[number % 3],
            lengths=LengthDistribution(
                edges=edges, probabilities=rng.dirichlet(np.ones(len(edges) - 1))
            ),
        )


def main(policy):
    warm_up(policy)
    before = compiled()
    driver = Driver(
        policy=create_policy(policy), limits=LIMITS, latency=LATENCY, time_box_s=float("inf")
    )
    engine = SimulatedEngine(
        driver=driver,
        limits=LIMITS,
        step_time=StepTime.of_latency(LATENCY),
        rules=EngineRules(asynchronous=True),
    )
    serve([engine], list(requests()))
    print(*sorted(compiled() - before), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
