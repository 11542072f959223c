"""Policies by the names that commands, files and environment variables use."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from predictor.errors import UnknownPolicyError
from scheduler import own_policy
from scheduler.annealing import AnnealConfig
from scheduler.parts import base_of, split_limit
from scheduler.policies import ordered
from scheduler.policies.anneal_paper import AnnealPaperPolicy
from scheduler.policies.past_future import PastFuturePolicy
from scheduler.policies.qoserve import QoServePolicy
from scheduler.policies.sarathi_edf import SarathiEdfPolicy
from scheduler.policies.slidingserve import SlidingServePolicy
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.policies.step_limit import StepLimited
from scheduler.policy import Policy
from scheduler.sliding.config import SlidingConfig
from scheduler.sliding.parts import SlidingParts
from scheduler.slots.config import SILENCE_S, SlotConfig
from scheduler.slots.parts import SlotParts

ORACLE_SUFFIX = "-oracle"

_FACTORIES: Mapping[str, Callable[[], Policy]] = {
    "fcfs": partial(ordered.OrderedPolicy, name="fcfs", key=ordered.by_arrival),
    "priority": partial(ordered.OrderedPolicy, name="priority", key=ordered.by_priority),
    "sjf": partial(ordered.OrderedPolicy, name="sjf", key=ordered.by_expected_length),
    "edf": partial(ordered.OrderedPolicy, name="edf", key=ordered.by_deadline),
    "lsf": partial(ordered.OrderedPolicy, name="lsf", key=ordered.by_slack),
    "shortest-feasible-first": partial(
        ordered.OrderedPolicy, name="shortest-feasible-first", key=ordered.by_feasible_service
    ),
    "unpredicted-boost": partial(
        ordered.OrderedPolicy, name="unpredicted-boost", key=ordered.by_share_used
    ),
    "sarathi-edf": SarathiEdfPolicy,
    "qoserve": QoServePolicy,
    "qoserve+predicted": partial(QoServePolicy, predicted=True),
    "past-future": PastFuturePolicy,
    "anneal-paper": AnnealPaperPolicy,
}

_PARTED: Mapping[str, Callable[[str], SlidingParts | SlotParts]] = {
    SlidingParts.base: SlidingParts.parse,
    SlotParts.base: SlotParts.parse,
}

# About as many moves as fit the time box on a warm machine.
_REPEATABLE = SlotConfig(time_box_s=inf, max_moves=128)
# The share of a driver's time box that a search may take: to read and to step take time as well.
_SEARCH_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class PolicyName:
    """A name as users write it: ``base`` is the policy; an ``oracle`` is told true lengths.

    ``base`` may name parts and a step limit: ``slidingserve[chunker+sorter]@256``. It may also be
    a class of the user's, ``MODULE:CLASS``.
    """

    full: str
    base: str
    oracle: bool

    @property
    def rule(self) -> str:
        """The policy without its step limit."""
        return split_limit(self.base)[0]

    @property
    def own(self) -> bool:
        """Whether building it imports a module that the name chooses."""
        return own_policy.names_class(self.rule)

    @classmethod
    def parse(cls, name: str) -> "PolicyName":
        """Split off ``-oracle`` and check the base; raises :class:`UnknownPolicyError`.

        Imports nothing: of a user's own class the form of the name is checked alone.
        """
        oracle = name.endswith(ORACLE_SUFFIX)
        base = name.removesuffix(ORACLE_SUFFIX)
        rule, _ = split_limit(base)
        if own_policy.names_class(rule):
            own_policy.check_form(rule)
        elif base_of(rule) in _PARTED:
            _PARTED[base_of(rule)](rule)
        elif rule not in _FACTORIES:
            near = difflib.get_close_matches(rule, policy_names(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "choose a known one."
            raise UnknownPolicyError(
                f"unknown policy {name!r}: {hint} Known: {', '.join(policy_names())}; "
                f"the suffix {ORACLE_SUFFIX} gives a policy the true lengths, @256 after a name "
                "limits its steps to so many tokens; MODULE:CLASS is a policy of your own"
            )
        return cls(full=name, base=base, oracle=oracle)


def class_priorities_act(policy: str) -> bool:
    """Whether a policy orders by the priorities of SLO classes, where a request states none.

    Only ``priority`` does. The others know what each class wants by its SLO.
    """
    return PolicyName.parse(policy).rule == "priority"


def policy_names() -> tuple[str, ...]:
    """All policies, without suffixes."""
    return (*_FACTORIES, *_PARTED)


def check_policy(name: str) -> PolicyName:
    """Parse, and import a user's own class; raises :class:`UnknownPolicyError`.

    For names from whoever runs the program, never for names that a client sends.
    """
    parsed = PolicyName.parse(name)
    if parsed.own:
        own_policy.build(parsed.rule)
    return parsed


def create_policy(
    name: str, *, repeatable: bool = False, time_box_s: float = 0.010, silence_s: float = SILENCE_S
) -> Policy:
    """Build the policy of this name; raises :class:`UnknownPolicyError`.

    ``time_box_s`` is the driver's, and searches end well within it; ``repeatable``: they end after
    a fixed number of moves instead. ``silence_s``: how long a stream that has begun may be silent,
    to policies that know such a bound. A user's own class is imported, and built without any.
    """
    rule, tokens = split_limit(PolicyName.parse(name).base)
    most_s = inf if repeatable else _SEARCH_SHARE * time_box_s
    policy = _create(rule, tokens, repeatable=repeatable, most_s=most_s, silence_s=silence_s)
    return policy if tokens is None else StepLimited(policy, tokens)


def _create(
    rule: str, tokens: int | None, *, repeatable: bool, most_s: float, silence_s: float
) -> Policy:
    """The policy without its limit of ``tokens``, which is the chunk of those with a fixed one."""
    if own_policy.names_class(rule):
        return own_policy.build(rule)
    if base_of(rule) == SlidingParts.base:
        config = SlidingConfig() if tokens is None else SlidingConfig(fixed_tokens=tokens)
        return SlidingServePolicy(config, parts=SlidingParts.parse(rule))
    if base_of(rule) == SlotParts.base:
        slots = replace(
            _REPEATABLE if repeatable else SlotConfig(), time_box_most_s=most_s, silence_s=silence_s
        )
        return SlotwisePolicy(slots, parts=SlotParts.parse(rule))
    if rule == "sarathi-edf" and tokens is not None:
        return SarathiEdfPolicy(token_budget=tokens)
    if rule == "anneal-paper":
        return AnnealPaperPolicy(config=AnnealConfig.paper(time_box_s=most_s))
    return _FACTORIES[rule]()
