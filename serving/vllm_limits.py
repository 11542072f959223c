"""Limits of the output of a request inside vLLM's engine core."""

from typing import Any

from predictor.output_limits import OutputLimits
from serving.xargs import replay_tokens


def output_limits(request: Any, *, max_model_len: int, replay: bool = False) -> OutputLimits:
    """What vLLM's ``Request`` says of its length; exact, since the prompt is counted here.

    With ``replay`` a request that carries a recorded length is taken for an ordinary one: it runs
    into ``max_tokens`` or ends by itself, for all that a policy may know.
    """
    room = max(max_model_len - request.num_prompt_tokens, 1)
    params = request.sampling_params
    if params is None:
        return OutputLimits(max_tokens=min(request.max_tokens, room))
    limits = OutputLimits(
        max_tokens=min(params.max_tokens or room, room),
        min_tokens=params.min_tokens or 0,
        ignore_eos=bool(params.ignore_eos),
        stops=bool(params.stop or params.stop_token_ids),
    )
    if replay and replay_tokens(params.extra_args) is not None:
        return OutputLimits(max_tokens=limits.max_tokens)
    return limits


def apply_replay_length(request: Any) -> None:
    """Let vLLM end a request at the recorded length that it carries.

    Only vLLM's own ``max_tokens`` of the request changes; the sampling parameters, from which
    :func:`output_limits` reads, keep the client's.
    """
    params = request.sampling_params
    tokens = None if params is None else replay_tokens(params.extra_args)
    if tokens is not None:
        request.max_tokens = min(tokens, request.max_tokens)
