"""Random draws inside compiled code: splitmix64, one uint64 of state, seeded per search."""

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled

Words = NDArray[np.uint64]


@compiled
def draw(rng: Words) -> np.uint64:
    """Return 64 random bits; ``rng`` uint64[1] is the state."""
    rng[0] += np.uint64(0x9E3779B97F4A7C15)
    bits = rng[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(bits ^ (bits >> np.uint64(31)))


@compiled
def below(rng: Words, limit: int) -> int:
    """Return a whole number in 0..limit - 1."""
    return int(np.int64(((draw(rng) >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32)))


@compiled
def unit(rng: Words) -> float:
    """Return a number in [0, 1)."""
    return np.float64(draw(rng) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
