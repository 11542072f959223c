from typing import Any

import pytest

from serving.bench.records import PolicyRun, RequestRecord, Status
from serving.report.summary import result_document
from serving.slo_config import DEFAULT
from serving.steplog import StepRecord


class Make:
    """Builds records, steps and runs with known figures."""

    @staticmethod
    def ok(request_id: str, e2e_s: float, *, met: bool | None = True, **more: Any) -> RequestRecord:
        """A code request with 11 tokens: TTFT is half of the latency, TPOT a 20th."""
        values = {
            "slo_class": "code",
            "arrival_s": 0.0,
            "prompt_tokens": 5,
            "recorded_tokens": 11,
            "output_tokens": 11,
            "ttft_s": e2e_s / 2,
            "tpot_s": e2e_s / 20,
        }
        return RequestRecord(
            request_id=request_id, status="ok", e2e_s=e2e_s, met=met, **{**values, **more}
        )

    @staticmethod
    def broken(request_id: str, status: Status, *, slo_class: str = "code") -> RequestRecord:
        return RequestRecord(
            request_id=request_id,
            slo_class=slo_class,
            arrival_s=1.0,
            prompt_tokens=5,
            recorded_tokens=11,
            status=status,
            output_tokens=3,
            met=False,
            error="engine died",
        )

    @staticmethod
    def step(
        at_s: float,
        waiting: int,
        *,
        running: int = 1,
        schedule_s: float = 1e-4,
        added_s: float = 0.0,
        preempted: int = 0,
    ) -> StepRecord:
        return StepRecord(
            at_s=at_s,
            waiting=waiting,
            running=running,
            prefills=0,
            prefill_tokens=0,
            prefill_context_tokens=0,
            decodes=running,
            context_tokens=10,
            preempted=preempted,
            schedule_s=schedule_s,
            added_s=added_s,
            step_s=None,
        )

    def run(self, policy: str = "fcfs", **more: Any) -> PolicyRun:
        """Four requests in 10 s: one met, one missed, one without target, one failed."""
        records = (
            self.ok("a", 2.0),
            self.ok("b", 4.0, met=False),
            self.ok("c", 6.0, met=None, slo_class="batch"),
            self.broken("d", "failed"),
        )
        steps = (self.step(100.0, 4, preempted=2), self.step(101.0, 0), self.step(104.0, 7))
        values = {"records": records, "steps": steps, "duration_s": 10.0}
        return PolicyRun(policy, **{**values, **more})

    @staticmethod
    def document(*runs: PolicyRun) -> dict[str, Any]:
        return result_document({"seed": 0, "slo_classes": DEFAULT.document()}, runs)


@pytest.fixture
def make() -> Make:
    return Make()
