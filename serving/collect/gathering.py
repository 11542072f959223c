"""Answers that come one by one and in any order, put together to rows and shards."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from serving.collect.lengths import Asked, Row
from serving.collect.shards import Shards


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample of a prompt, or why there is none."""

    prompt_id: str
    input_tokens: int
    output_tokens: int
    error: str = ""


@dataclass(slots=True)
class _Shard:
    number: int
    missing: int
    rows: dict[str, Row] = field(default_factory=dict)


@dataclass(slots=True)
class Gathering:
    """Cuts prompts into shards of ``size``, and writes each once all of its prompts are answered.

    A prompt of which a sample failed is no row: ``failed`` says why, and another run asks it again.
    """

    shards: Shards
    prompts: Sequence[Asked]
    size: int
    failed: dict[str, str] = field(default_factory=dict, init=False)
    _open: dict[str, _Shard] = field(default_factory=dict, init=False)
    _answers: dict[str, list[Answer]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for number, start in enumerate(range(0, len(self.prompts), self.size)):
            part = self.prompts[start : start + self.size]
            shard = _Shard(number, len(part))
            self._open |= {asked.id: shard for asked in part}

    def take(self, answer: Answer) -> bool:
        """Put one answer where it belongs; whether all of its prompt's are there now."""
        if answer.prompt_id not in self._open:
            return False  # a task that Ray repeated
        came = self._answers.setdefault(answer.prompt_id, [])
        came.append(answer)
        if len(came) < self.shards.settings.samples:
            return False
        self._finish(answer.prompt_id)
        return True

    def keep(self) -> None:
        """Write what is complete of shards that are not."""
        for shard in {id(shard): shard for shard in self._open.values()}.values():
            if shard.rows:
                self.shards.write(shard.number, shard.rows)

    def _finish(self, prompt_id: str) -> None:
        shard, answers = self._open.pop(prompt_id), self._answers.pop(prompt_id)
        if fault := next((answer.error for answer in answers if answer.error), None):
            self.failed[prompt_id] = fault
        else:
            tokens = tuple(answer.output_tokens for answer in answers)
            shard.rows[prompt_id] = Row(prompt_id, answers[0].input_tokens, tokens)
        shard.missing -= 1
        if not shard.missing and shard.rows:
            self.shards.write(shard.number, shard.rows)
