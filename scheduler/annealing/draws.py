"""Random draws inside compiled code: splitmix64, one uint64 of state, seeded per search."""

import numpy as np
from numba import njit


@njit(cache=True)
def draw(rng):  # type: ignore[no-untyped-def]
    """Return 64 random bits; ``rng`` uint64[1] is the state."""
    rng[0] += np.uint64(0x9E3779B97F4A7C15)
    bits = rng[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@njit(cache=True)
def below(rng, limit):  # type: ignore[no-untyped-def]
    """Return a whole number in 0..limit - 1."""
    return np.int64(((draw(rng) >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32))


@njit(cache=True)
def unit(rng):  # type: ignore[no-untyped-def]
    """Return a number in [0, 1)."""
    return np.float64(draw(rng) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
