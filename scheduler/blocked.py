"""Why a live request cannot be given a slot, whatever a policy decides."""

from enum import StrEnum


class Blocked(StrEnum):
    """Reasons of an engine; the values label a metric."""

    GRAMMAR = "grammar"
    """Its grammar is being compiled."""
    ADAPTER = "adapter"
    """The running requests use as many adapters as the engine may load."""
    KV = "kv"
    """Its KV cache is on its way from another engine."""
    INPUT = "input"
    """A streaming-input session that has answered and waits for its client."""
    SKIPPED = "skipped"
    """The engine passed over it, for a reason of its own."""
    CAPACITY = "capacity"
    """No slot comes free even if one running request gives up its own."""
    PAUSED = "paused"
    """The operator paused the engine."""
