"""Requests for vLLM's scheduler and steps of it, the forward pass made up."""

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from serving.xargs import encode

SLOTS = 4
LATENCY = StepLatency.linear(step_s=1e-3, decode_s=1e-4, prompt_token_s=1e-5)


def new_request(name, rng):
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    tokens = rng.randint(1, 40)
    task = rng.choice(["code", "chat"])
    xargs = encode(slo_class=task, lengths=LengthDistribution.point(tokens))
    if rng.random() < 0.2:
        xargs = rng.choice([{}, {"slotwise_lengths": [1, -2]}, {"slotwise_slo_s": "x"}])
    params = SamplingParams(max_tokens=tokens, ignore_eos=True, extra_args=xargs)
    return Request(name, [1] * rng.randint(1, 300), params, None)


def run_step(scheduler, in_flight, *, lag):
    """Schedule one step and hand in the results of the one ``lag`` steps ago."""
    from vllm.v1.outputs import ModelRunnerOutput

    output = scheduler.schedule()
    done = {
        name: not scheduler.requests[name].is_prefill_chunk for name in output.num_scheduled_tokens
    }
    in_flight.append((output, done))
    finished = []
    while len(in_flight) > lag:
        output, done = in_flight.popleft()
        names = list(output.num_scheduled_tokens)
        results = scheduler.update_from_output(
            output,
            ModelRunnerOutput(
                req_ids=names,
                req_id_to_index={name: i for i, name in enumerate(names)},
                sampled_token_ids=[[7] if done[name] else [] for name in names],
            ),
        )
        for client in results.values():
            finished += [o.request_id for o in client.outputs if o.finish_reason is not None]
    return finished
