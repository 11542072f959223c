"""The SLO class file: what each class of requests is promised, in milliseconds.

A file holds ``classes`` and, if one of them serves requests that name no class, ``default_class``::

    classes:
      code: {e2e_ms: 30000, priority: 0}
      chat: {ttft_ms: 5000, tpot_ms: 100, priority: 1}
    default_class: chat
"""

from pathlib import Path
from reprlib import repr as short
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from predictor.errors import ConfigError
from scheduler.slo import Slo, SloClass
from serving.config_file import nearest, parse

Milliseconds = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
ClassName = Annotated[str, StringConstraints(strict=True, min_length=1)]


class ClassTargets(BaseModel):
    """Targets of one class in milliseconds.

    Under the policy ``priority`` a lower ``priority`` is served earlier, as in vLLM.

    A class without any target is allowed: its requests never count towards attainment. Requests of
    a ``sheddable`` class are refused while they wait once nothing can keep their promise any more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttft_ms: Milliseconds | None = None
    tpot_ms: Milliseconds | None = None
    e2e_ms: Milliseconds | None = None
    priority: StrictInt = 0
    sheddable: StrictBool = False

    def slo(self) -> Slo:
        """Return the targets in seconds."""
        return Slo(
            ttft_s=_seconds(self.ttft_ms),
            tpot_s=_seconds(self.tpot_ms),
            e2e_s=_seconds(self.e2e_ms),
        )


class SloConfig(BaseModel):
    """All SLO classes of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: dict[ClassName, ClassTargets] = Field(min_length=1)
    default_class: ClassName | None = None

    @model_validator(mode="after")
    def _default_class_exists(self) -> Self:
        if self.default_class is not None and self.default_class not in self.classes:
            hint = nearest(self.default_class, self.classes)
            raise ValueError(
                f"'default_class' is '{self.default_class}', no class of this file: {hint}"
            )
        return self

    def slo_classes(self) -> dict[str, SloClass]:
        """Return the classes by name, targets in seconds."""
        return {
            name: SloClass(name, targets.slo(), targets.priority, targets.sheddable)
            for name, targets in self.classes.items()
        }

    def document(self) -> dict[str, dict[str, float | int]]:
        """Return the classes for a result file's ``config["slo_classes"]``, in milliseconds."""
        return {
            name: targets.model_dump(exclude_none=True, exclude={"sheddable"})
            for name, targets in self.classes.items()
        }


DEFAULT = SloConfig(
    classes={
        "code": ClassTargets(e2e_ms=30_000, priority=0),
        "chat": ClassTargets(ttft_ms=5_000, tpot_ms=100, priority=1),
    }
)


def load(path: Path | None = None) -> SloConfig:
    """Read the SLO classes from a YAML, TOML or JSON file; without a path, the built-in two.

    Raises ``ConfigError`` with the file, the key at fault and what to write instead.
    """
    if path is None:
        return DEFAULT
    content = parse(
        path,
        what="SLO file",
        absent="check the path, or leave it out for the built-in "
        f"classes {' and '.join(DEFAULT.classes)}",
    )
    if not isinstance(content, dict):
        raise ConfigError(
            f"SLO file {path}: the file must hold a mapping with the key 'classes'; "
            "write e.g. classes: {code: {e2e_ms: 30000}}"
        )
    try:
        return SloConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_message(path, error)) from None


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _message(path: Path, error: ValidationError) -> str:
    """Explain one fault and count the others; a misspelt key first, it may explain the rest."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    more = f" ({len(faults) - 1} more like it)" if len(faults) > 1 else ""
    return f"SLO file {path}: {_explain(faults[0])}{more}"


def _explain(fault: ErrorDetails) -> str:
    location = [str(part) for part in fault["loc"]]
    where = ".".join(location)
    if fault["type"] == "extra_forbidden":
        model = SloConfig if len(location) == 1 else ClassTargets
        return f"unknown key '{where}': {nearest(location[-1], model.model_fields)}"
    if location[-1:] == ["[key]"]:
        return f"class name {short(fault['input'])} must be non-empty text; put it in quotes"
    if fault["type"] == "value_error":
        return fault["msg"].removeprefix("Value error, ")
    if location == ["classes"]:
        return "'classes' must name at least one class; write e.g. classes: {code: {e2e_ms: 30000}}"
    return f"'{where}' is {short(fault['input'])}: {_remedy(location)}"


def _remedy(location: list[str]) -> str:
    if location[-1].endswith("_ms") and len(location) == 3:
        return "give a positive number of milliseconds, or leave the key out for no target"
    if location[-1] == "priority" and len(location) == 3:
        return "give a whole number; lower is served earlier"
    if location[-1] == "sheddable" and len(location) == 3:
        return "give true or false"
    if location == ["default_class"]:
        return "give the name of one of the classes"
    return f"give a mapping with some of the keys {', '.join(ClassTargets.model_fields)}"
