"""Requests for vLLM's scheduler and steps of it, the forward pass made up."""

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from serving.xargs import encode

SLOTS = 4
LATENCY = StepLatency.linear(step_s=1e-3, decode_s=1e-4, prompt_token_s=1e-5)

PATIENT = Slo(e2e_s=3600.0)


def compiled():
    """Return a compiled grammar that allows everything."""
    from vllm.v1.structured_output.backend_types import StructuredOutputGrammar

    class Anything(StructuredOutputGrammar):
        def accept_tokens(self, request_id, tokens):
            return True

        def validate_tokens(self, tokens):
            return tokens

        def rollback(self, num_tokens):
            pass

        def fill_bitmask(self, bitmask, batch_index):
            pass

        def is_terminated(self):
            return False

        def reset(self):
            pass

    return Anything()


def request(name, *, prompt=20, tokens=30, slo=PATIENT, adapter=None, kv=None, **more):
    """Return a request that says its length; ``more`` goes to its sampling and to vLLM's class."""
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    xargs = encode(slo_class="chat", slo=slo, lengths=LengthDistribution.point(tokens))
    extra = xargs if kv is None else {**xargs, "kv_transfer_params": kv}
    structured = more.pop("structured_outputs", None)
    params = SamplingParams(
        max_tokens=tokens, ignore_eos=True, extra_args=extra, structured_outputs=structured
    )
    lora = None if adapter is None else LoRARequest(f"adapter{adapter}", adapter, "nowhere")
    return Request(name, [1] * prompt, params, None, lora_request=lora, **more)


def with_grammar(name, **kwargs):
    """Return a request with a structured output, its grammar not compiled yet."""
    from vllm.sampling_params import StructuredOutputsParams

    wanted = StructuredOutputsParams(json_object=True)
    return request(name, structured_outputs=wanted, reasoning_ended=True, **kwargs)


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


def waiting_of(scheduler):
    """Everybody who is in one of vLLM's waiting queues."""
    beside = "kv_holding_waiting" if hasattr(scheduler, "kv_holding_waiting") else "skipped_waiting"
    return [*scheduler.waiting, *getattr(scheduler, beside)]


def run_step(scheduler, in_flight, *, lag, accepted=0, loaded=()):
    """Schedule one step and hand in the results of the one ``lag`` steps ago.

    ``accepted`` drafts of each decode turn out right; ``loaded`` are ids whose KV cache arrived.
    """
    from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput

    output = scheduler.schedule()
    done = {
        name: not scheduler.requests[name].is_prefill_chunk for name in output.num_scheduled_tokens
    }
    in_flight.append((output, done))
    finished = []
    while len(in_flight) > lag:
        output, done = in_flight.popleft()
        names = list(output.num_scheduled_tokens)
        drafts = output.scheduled_spec_decode_tokens
        right = {name: min(accepted, len(drafts.get(name, ()))) for name in names}
        arrived, loaded = loaded, ()
        results = scheduler.update_from_output(
            output,
            ModelRunnerOutput(
                req_ids=names,
                req_id_to_index={name: i for i, name in enumerate(names)},
                sampled_token_ids=[[7] * (1 + right[name]) if done[name] else [] for name in names],
                kv_connector_output=KVConnectorOutput(finished_recving=set(arrived)),
            ),
        )
        for client in results.values():
            finished += [o.request_id for o in client.outputs if o.finish_reason is not None]
    return finished
