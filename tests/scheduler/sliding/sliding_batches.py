"""Batches by hand."""

import numpy as np

from scheduler.latency import StepLatency
from scheduler.sliding.batch import Batch

# 10 ms a step, 1 ms an answer, 0.1 ms a prompt token.
LATENCY = StepLatency.linear(step_s=0.01, decode_s=1e-3, prompt_token_s=1e-4)


def batch(candidates=(), decodes=(), *, running=0):
    """``candidates`` as (left, slack_s[, guarded]), ``decodes`` as (slack_s, tbt_s)."""
    rows = [(*c, 0)[:3] for c in candidates]
    n, d = len(rows), len(decodes)
    return Batch(
        decode_handle=np.arange(100, 100 + d),
        decode_context=np.full(d, 50.0),
        decode_slack_s=np.array([s for s, _ in decodes], dtype=float),
        decode_tbt_s=np.array([t for _, t in decodes], dtype=float),
        handle=np.arange(n),
        left=np.array([r[0] for r in rows], dtype=float),
        cached=np.zeros(n),
        slack_s=np.array([r[1] for r in rows], dtype=float),
        guarded=np.array([r[2] for r in rows], dtype=np.int64),
        running=running,
    )
