"""``slotwise simulate``, ``capacity`` and ``validate-simulator``: engines made of arithmetic."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_POLICIES = (
    "Comma-separated policies, or your own as MODULE:CLASS; the suffix -oracle gives one the true "
    "lengths."
)
_TRACE = (
    "CSV or JSON lines (or .gz) with columns t_s,input_tokens,output_tokens, or as Azure, "
    "BurstGPT, Mooncake, Bailian or Vidur name them; or CLASS=FILE; may be given several times."
)
_WORKLOAD = (
    "sharegpt-code-chat: what `slotwise bench` replays; sharegpt, arxiv-v1, arxiv-v2, mixed-v1, "
    "mixed-v2: those of arXiv 2606.05933."
)
_PROFILE = (
    "Profile name, aic:SYSTEM/MODEL, folder or file; /2 for half as fast, :N for N instances; "
    "may be given several times."
)
_PLACEMENT = "round-robin, least-requests, free-memory or slo-gain; for several instances."
_FORECAST = (
    "oracle, history, predicted or noise:SIGMA; default: predicted with prompts, else history."
)
_SCALE = "Arrivals so many times as frequent."
_NUM = "Requests; of a trace each seed replays a stretch of so many. Default: all, or 500."
_SEEDS = "Runs per policy; figures become means with 95 % intervals."
_SEQS = "Sequences run at once; default: the profile's."
_KV = "KV memory in tokens; default: the profile's."
_SLOS = "File with SLO classes; default: code (e2e 30 s), chat (TTFT 5 s, TPOT 100 ms)."
_STEP_LOG = "Read the steps of an engine that ran with SLOTWISE_STEP_LOG, instead of starting one."
_PERIOD = "Instances say how they are this often; 0: whenever a request comes (slo-gain)."
_DELAY = "And are heard so much later."
_LOWEST = "The scan of rates begins at this multiple of the load; a policy failing there has 0."
_RUN_DIR = "Folder with requests.jsonl, meta.json and profile/."

Policies = Annotated[str, typer.Option(help=_POLICIES)]
Trace = Annotated[list[str] | None, typer.Option(help=_TRACE)]
Workload = Annotated[str | None, typer.Option(help=_WORKLOAD)]
Profiles = Annotated[list[str], typer.Option("--engine-profile", help=_PROFILE)]
Placement = Annotated[str, typer.Option(help=_PLACEMENT)]
DigestPeriod = Annotated[float, typer.Option(min=0.0, help=_PERIOD)]
DigestDelay = Annotated[float, typer.Option(min=0.0, help=_DELAY)]
Forecast = Annotated[str | None, typer.Option(help=_FORECAST)]
Rate = Annotated[float, typer.Option(help="Requests per second of a workload.")]
NumRequests = Annotated[int | None, typer.Option(min=1, help=_NUM)]
Seeds = Annotated[int, typer.Option(min=1, help=_SEEDS)]
Seed = Annotated[int, typer.Option(min=0, help="The first seed.")]
Seqs = Annotated[int | None, typer.Option(min=1, help=_SEQS)]
KvTokens = Annotated[int | None, typer.Option(min=16, help=_KV)]
SloFile = Annotated[Path | None, typer.Option(help=_SLOS)]


def simulate(
    engine_profile: Profiles,
    policies: Policies = "fcfs,slotwise",
    trace: Trace = None,
    workload: Workload = None,
    placement: Placement = "slo-gain",
    digest_period_ms: DigestPeriod = 0.0,
    digest_delay_ms: DigestDelay = 0.0,
    forecast: Forecast = None,
    rate: Rate = 1.6,
    rate_scale: Annotated[float, typer.Option(help=_SCALE)] = 1.0,
    num_requests: NumRequests = None,
    seeds: Seeds = 1,
    seed: Seed = 0,
    max_num_seqs: Seqs = None,
    kv_tokens: KvTokens = None,
    slo_config: SloFile = None,
    output: Annotated[Path, typer.Option()] = Path("build/simulate/result.json"),
) -> None:
    """Replay a trace or workload on simulated engines, once per policy and seed."""
    from serving.simulate.config import SimConfig  # noqa: PLC0415 - heavy
    from serving.simulate.run import run_simulation  # noqa: PLC0415

    config = SimConfig(
        policies=_names(policies),
        instances=_instances(engine_profile),
        traces=tuple(trace or ()),
        workload=workload,
        placement=placement,
        digest_period_s=digest_period_ms / 1e3,
        digest_delay_s=digest_delay_ms / 1e3,
        forecast=forecast,
        rate=rate,
        rate_scale=rate_scale,
        num_requests=num_requests,
        seeds=seeds,
        seed=seed,
        max_num_seqs=max_num_seqs,
        kv_tokens=kv_tokens,
        slo_config=slo_config,
        output=output,
    )
    run_simulation(config, Console())


def capacity(
    engine_profile: Profiles,
    policies: Policies = "fcfs,slotwise",
    trace: Trace = None,
    workload: Workload = None,
    placement: Placement = "slo-gain",
    digest_period_ms: DigestPeriod = 0.0,
    digest_delay_ms: DigestDelay = 0.0,
    forecast: Forecast = None,
    rate: Rate = 1.6,
    num_requests: NumRequests = 2000,
    seeds: Seeds = 5,
    seed: Seed = 0,
    max_num_seqs: Seqs = None,
    kv_tokens: KvTokens = None,
    slo_config: SloFile = None,
    violations: Annotated[float, typer.Option(help="Share that may break its promise.")] = 0.01,
    tolerance: Annotated[float, typer.Option(help="Relative precision of the rate.")] = 0.02,
    lowest: Annotated[float, typer.Option(help=_LOWEST)] = 1 / 16,
    step: Annotated[float, typer.Option(help="Factor between two rates of the scan.")] = 1.25,
    output: Annotated[Path, typer.Option()] = Path("build/capacity/result.json"),
) -> None:
    """Find the request rate up to which each policy has at most so many violations."""
    from serving.simulate.capacity import Search, run_capacity  # noqa: PLC0415 - heavy
    from serving.simulate.config import SimConfig  # noqa: PLC0415

    config = SimConfig(
        policies=_names(policies),
        instances=_instances(engine_profile),
        traces=tuple(trace or ()),
        workload=workload,
        placement=placement,
        digest_period_s=digest_period_ms / 1e3,
        digest_delay_s=digest_delay_ms / 1e3,
        forecast=forecast,
        rate=rate,
        num_requests=num_requests,
        seeds=seeds,
        seed=seed,
        max_num_seqs=max_num_seqs,
        kv_tokens=kv_tokens,
        slo_config=slo_config,
        output=output,
    )
    run_capacity(config, Search(violations, tolerance, lowest, step), Console())


def validate_simulator(
    run_dir: Annotated[Path, typer.Argument(help=_RUN_DIR)],
    output: Annotated[Path | None, typer.Option(help="Result file (JSON).")] = None,
) -> None:
    """Replay a recorded run on its own profile; print measured against simulated."""
    from serving.simulate.validate import run_validation  # noqa: PLC0415 - heavy

    run_validation(run_dir, output, Console())


def profile(
    model: Annotated[str, typer.Option(help="Known name, local folder or hub id.")] = "smollm2",
    max_num_seqs: Annotated[int, typer.Option(min=1, help="Sequences run at once.")] = 16,
    step_log: Annotated[Path | None, typer.Option(help=_STEP_LOG)] = None,
    output: Annotated[Path, typer.Option()] = Path("build/profile.json"),
) -> None:
    """Record the step times of a real engine as a profile for `slotwise simulate`."""
    from serving.simulate.profile import ProfileConfig, run_profile  # noqa: PLC0415 - heavy

    run_profile(
        ProfileConfig(model=model, max_num_seqs=max_num_seqs, step_log=step_log, output=output),
        Console(),
    )


def _names(text: str) -> tuple[str, ...]:
    """The policies; those of the user's are imported from the current folder as well."""
    from serving.policy_folder import make_importable, own_folder  # noqa: PLC0415 - heavy

    names = tuple(name.strip() for name in text.split(",") if name.strip())
    make_importable(own_folder(*names))
    return names


def _instances(texts: list[str]) -> tuple[str, ...]:
    """``NAME`` once, ``NAME:N`` so many times."""
    found: list[str] = []
    for text in texts:
        name, _, count = text.rpartition(":")
        found += [name] * int(count) if name and count.isdigit() else [text]
    return tuple(found)
