"""Random steps through the less common states of vLLM's scheduler, the forward pass made up.

Sessions, pauses, an active limit that moves, adapters, grammars, KV caches that arrive, speculation
and whole prompts, all at once and with policies that do what they like.
"""

import random
from collections import deque
from itertools import count

import pytest
from test_scheduler_blast import Chaos
from vllm_steps import LATENCY, SLOTS, compiled, request, run_step, waiting_of, with_grammar

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

STEPS = 1200


class Clients:
    """Those who send requests of every kind, change their minds and pause the engine."""

    def __init__(self, scheduler, rng, *, kinds):
        self.scheduler, self.rng, self.kinds = scheduler, rng, kinds
        self.numbers, self.live = count(), set()
        self.sessions, self.compiling, self.loading = {}, {}, set()
        self.paused = False

    def act(self):
        """One random thing; most often none."""
        what = self.rng.choices(
            [self.ask, self.compile, self.go_on, self.leave, self.pause, self.limit, self.nothing],
            [0.2, 0.1, 0.1, 0.01, 0.01, 0.01, 0.57],
        )[0]
        what()

    def nothing(self):
        pass

    def ask(self):
        name, rng = f"r{next(self.numbers)}", self.rng
        prompt, tokens = rng.randint(1, 300), rng.randint(1, 30)
        kind = rng.choice(self.kinds)
        if kind == "grammar":
            made = with_grammar(name, prompt=prompt, tokens=tokens)
            self.compiling[name] = made
        elif kind == "session":
            made = request(name, prompt=min(prompt, 60), tokens=min(tokens, 8), resumable=True)
            self.sessions[name] = rng.randint(0, 3)
        elif kind == "adapter":
            made = request(name, prompt=prompt, tokens=tokens, adapter=rng.randint(1, 4))
        elif kind == "kv":
            made = request(name, prompt=prompt + 1, tokens=tokens, kv={"do_remote_prefill": True})
        else:
            made = request(name, prompt=prompt, tokens=tokens)
        self.live.add(name)
        self.scheduler.add_request(made)

    def compile(self):
        """A grammar is ready, or cannot be had."""
        if self.compiling:
            made = self.compiling.pop(self.rng.choice(sorted(self.compiling)))
            broken = self.rng.random() < 0.2
            made.structured_output_request.grammar = ValueError("no") if broken else compiled()

    def go_on(self):
        """A session has its next input, or none any more."""
        if self.sessions:
            name = self.rng.choice(sorted(self.sessions))
            more = self.sessions[name] > 0
            self.sessions[name] -= 1
            if not more:
                del self.sessions[name]
            known = self.scheduler.requests.get(name)
            if known is None or known.num_tokens > 300:
                self.sessions.pop(name, None)
                self.end(name)
            else:
                self.scheduler.add_request(request(name, prompt=20, tokens=5, resumable=more))
                if name not in self.scheduler.requests:
                    self.live.discard(name)

    def leave(self):
        if self.live:
            self.end(self.rng.choice(sorted(self.live)))

    def end(self, name):
        from vllm.v1.request import RequestStatus

        self.scheduler.finish_requests(name, RequestStatus.FINISHED_ABORTED)
        self.forget(name)

    def forget(self, name):
        self.live.discard(name)
        self.sessions.pop(name, None)
        self.compiling.pop(name, None)

    def pause(self):
        from vllm.v1.core.sched.interface import PauseState

        self.paused = not self.paused
        state = self.rng.choice([PauseState.PAUSED_NEW, PauseState.PAUSED_ALL])
        self.scheduler.set_pause_state(state if self.paused else PauseState.UNPAUSED)
        if self.paused and self.rng.random() < 0.3:
            # vLLM refuses while others hold KV blocks.
            holders = [each for each in waiting_of(self.scheduler) if each.num_computed_tokens]
            self.scheduler.reset_prefix_cache(reset_running_requests=not holders)

    def limit(self):
        if hasattr(self.scheduler, "max_num_active_reqs"):  # from vLLM 0.31 on
            self.scheduler.max_num_active_reqs = self.rng.randint(1, SLOTS)

    def loads(self):
        """Whose KV cache is under way; those who left meanwhile are kept until it is there."""
        from vllm.v1.request import RequestStatus

        status = RequestStatus.WAITING_FOR_REMOTE_KVS
        return sorted(
            name
            for name, known in self.scheduler.requests.items()
            if (known.status == status or known.is_finished())
            and name not in self.scheduler.finished_recving_kv_req_ids
        )

    def settle(self):
        """Nobody comes any more; whoever is blocked is helped on."""
        from vllm.v1.core.sched.interface import PauseState

        self.scheduler.set_pause_state(PauseState.UNPAUSED)
        if hasattr(self.scheduler, "max_num_active_reqs"):
            self.scheduler.max_num_active_reqs = SLOTS
        while self.compiling:
            self.compile()
        for name in sorted(self.sessions):
            self.end(name)

    def take(self, finished):
        """Who ended; a session's turn is no end."""
        for name in finished:
            if name not in self.scheduler.requests:
                self.forget(name)


def check(scheduler, live):
    """Nobody lost, nobody twice, and the picture is the engine's."""
    waiting, running = waiting_of(scheduler), scheduler.running
    everywhere = [each.request_id for each in [*waiting, *running]]
    assert len(everywhere) == len(set(everywhere))
    known = {name for name, each in scheduler.requests.items() if not each.is_finished()}
    assert set(everywhere) == known == live
    tracker = scheduler.driver.tracker
    assert set(tracker.live) == live
    assert {name for name in live if tracker.runs(name)} == {each.request_id for each in running}
    assert tracker.disagreements == 0
    snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY)
    seen = set(tracker.request_ids(snapshot.waiting.handle))
    assert not any(tracker.reason(name) for name in seen)
    assert not (tracker.closed and seen)
    assert (snapshot.running.prefill_left >= 0).all()
    return seen


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("speculates", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("policy_name", ["slotwise", "chaos", "slidingserve", "sarathi-edf"])
def test_random_steps_through_every_state(make_scheduler, policy_name, whole, speculates, short):
    from vllm.config import KVTransferConfig

    rng = random.Random(f"{policy_name}{whole}{speculates}{short}")
    engine = {"enable_lora": True, "max_loras": 2} if not speculates else {}
    if whole:
        engine |= {"enable_chunked_prefill": False, "max_num_batched_tokens": 512}
    if speculates:
        engine["speculative_config"] = {
            "method": "ngram_gpu", "num_speculative_tokens": 3,
            "prompt_lookup_max": 4, "prompt_lookup_min": 2,
        }  # fmt: skip
    engine["kv_transfer_config"] = KVTransferConfig(
        kv_connector="ArrivingKv", kv_role="kv_both", kv_connector_module_path="arriving_kv"
    )
    chaos = Chaos(1) if policy_name == "chaos" else None
    kinds = ["plain", "grammar"]
    kinds += ["adapter"] if not speculates else []
    # vLLM 0.32 loses a session that it preempts for want of memory while its last token is under
    # way: where memory is short there are none.
    scheduler = make_scheduler(
        "fcfs" if chaos else policy_name, policy=chaos, blocks=60 if short else 400, **engine
    )
    # Before 0.31 it lets whoever holds KV blocks wait behind others who wait for them.
    if hasattr(scheduler, "kv_holding_waiting"):
        kinds += ["kv"] if short else ["kv", "session"]
    clients, in_flight = Clients(scheduler, rng, kinds=kinds), deque()
    for step in range(STEPS + 6000):
        if step < STEPS:
            clients.act()
        elif step == STEPS:
            clients.settle()
        elif not clients.live:
            break
        before = scheduler.requests.copy()
        preempted = sum(each.num_preemptions for each in before.values())
        loaded = [name for name in clients.loads() if rng.random() < 0.3]
        finished = run_step(
            scheduler, in_flight, lag=rng.randint(0, 1), accepted=rng.randint(0, 3), loaded=loaded
        )
        clients.take(finished)
        check(scheduler, clients.live)
        if scheduler.pause_state and not short:
            assert preempted == sum(each.num_preemptions for each in before.values())
    assert not clients.live, "some request starved"
    assert len(scheduler.driver.tracker) == 0
    assert scheduler.fallbacks == 0
