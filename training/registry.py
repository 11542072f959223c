"""The MLflow registry of trained predictors: candidate, champion, and the way back.

Runs go to ``sqlite:///mlruns/mlflow.db`` with artifacts under ``mlruns/artifacts``, or to the
server that ``MLFLOW_TRACKING_URI`` names. A version is registered last, after all of its files
lie in the store, so that nothing is ever half registered.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

from predictor.errors import RegistryError
from training.mlflow_access import VARIABLE, MlflowAccess

NAME = "slotwise-length-predictor"
EXPERIMENT = "slotwise"
CANDIDATE, CHAMPION = "candidate", "champion"
_FORMER = "former_champion"
_FOLDER = "model"
# A candidate passes when its CRPS is at most this much above the champion's (rounding), and its
# coverage at most this much further from 90 %.
_CRPS_SLACK = 1e-9
_COVERAGE_SLACK = 0.005


@dataclass(frozen=True, slots=True)
class Version:
    """One registered predictor."""

    number: str
    kind: str
    crps: float | None
    coverage_90: float | None
    data: str
    aliases: tuple[str, ...]

    @property
    def scores(self) -> "GateScores":
        """For the gate; nan where there is none."""
        return GateScores(
            nan if self.crps is None else self.crps,
            nan if self.coverage_90 is None else self.coverage_90,
        )


@dataclass(frozen=True, slots=True)
class GateScores:
    """What the promotion gate looks at, on one test set."""

    crps: float
    coverage_90: float

    def refusal(self, champion: "GateScores | None") -> str | None:
        """Why this may not take the title on the same test set, or nothing.

        A score that is no number passes nowhere. A champion's that is none holds nobody back.
        """
        unfit = self._unfit()
        if unfit or champion is None:
            return unfit
        if _is_crps(champion.crps) and self.crps > champion.crps * (1.0 + _CRPS_SLACK):
            return f"CRPS {self.crps:.2f} is worse than the champion's {champion.crps:.2f}"
        ours, theirs = abs(self.coverage_90 - 0.9), abs(champion.coverage_90 - 0.9)
        if _is_share(champion.coverage_90) and ours > theirs + _COVERAGE_SLACK:
            return (
                f"coverage {self.coverage_90:.3f} is further from 0.9 than the champion's "
                f"{champion.coverage_90:.3f}"
            )
        return None

    def _unfit(self) -> str | None:
        for name, value, fit in (
            ("CRPS", self.crps, _is_crps(self.crps)),
            ("coverage", self.coverage_90, _is_share(self.coverage_90)),
        ):
            if not fit:
                return (
                    f"{name} {value:g} is no score, its forecasts cannot be judged; train it again"
                )
        return None


def _is_crps(value: float) -> bool:
    return isfinite(value) and value >= 0.0


def _is_share(value: float) -> bool:
    return 0.0 <= value <= 1.0


class Registry:
    """Runs and versions of the length predictor."""

    def __init__(self, folder: Path = Path("mlruns"), *, uri: str | None = None) -> None:
        wanted = uri or os.environ.get(VARIABLE)
        self._local = None if wanted else folder.resolve()
        if self._local is not None:
            _made(self._local)
        self.uri = wanted or f"sqlite:///{folder.resolve()}/mlflow.db"
        self._client = MlflowAccess(self.uri)

    def check_writable(self) -> None:
        """Raise ``RegistryError`` where a run could not be registered: before it, not after."""
        self._client.check_writable()

    @contextmanager
    def run(self, parameters: Mapping[str, object], tags: Mapping[str, str]) -> Iterator["Run"]:
        """A run that ends FINISHED, or FAILED when the block raises."""
        made = self._client.create_run(self._experiment(), tags=dict(tags))
        run = Run(self._client, made.info.run_id, made.info.artifact_uri)
        try:
            for name, value in parameters.items():
                self._client.log_param(run.id, name, value)
            yield run
        except BaseException:
            self._client.set_terminated(run.id, "FAILED")
            raise
        self._client.set_terminated(run.id, "FINISHED")

    def register(
        self, run: "Run", folder: Path, *, kind: str, scores: GateScores, data: str
    ) -> str:
        """Store an artifact folder with the run and register it as the candidate."""
        run.store(folder, _FOLDER, signature=kind)
        tags = {
            "kind": kind,
            "crps": repr(scores.crps),
            "coverage_90": repr(scores.coverage_90),
            "data": data,
        }

        if not self._known():
            self._client.create_registered_model(NAME)
        created = self._client.create_model_version(
            NAME, f"{run.artifact_uri}/{_FOLDER}", run_id=run.id, tags=tags
        )
        number = str(created.version)
        self._client.set_registered_model_alias(NAME, CANDIDATE, number)
        return number

    def versions(self) -> list[Version]:
        """All of them, the newest first."""
        if not self._known():
            return []
        found = self._client.search_model_versions(f"name = '{NAME}'")
        aliases = dict(self._client.get_registered_model(NAME).aliases)
        made = [_version(entry, aliases) for entry in found]
        return sorted(made, key=lambda version: -int(version.number))

    def number_of(self, name: str) -> str:
        """The version an alias or a number stands for; raises ``RegistryError``."""
        for version in self.versions():
            if name in (version.number, *version.aliases):
                return version.number
        known = ", ".join(v.number for v in self.versions()) or "none yet"
        raise RegistryError(f"no version or alias {name!r} is registered; there are: {known}")

    def promote(self, name: str = CANDIDATE) -> str:
        """Make a version the champion and remember the one before."""
        number = self.number_of(name)
        before = self._alias(CHAMPION)
        if before is not None and before != number:
            self._client.set_model_version_tag(NAME, number, _FORMER, before)
        self._client.set_registered_model_alias(NAME, CHAMPION, number)
        return number

    def rollback(self) -> str:
        """Give the title back to the champion before this one."""
        now = self._alias(CHAMPION)
        if now is None:
            raise RegistryError("there is no champion to roll back from; promote a version first")
        former = self._client.get_model_version(NAME, now).tags.get(_FORMER)
        if not former:
            raise RegistryError(f"version {now} is the first champion; there is none before it")
        self._client.set_registered_model_alias(NAME, CHAMPION, former)
        return str(former)

    def gate(self, name: str = CANDIDATE) -> str | None:
        """Why a version may not replace the champion by what both scored, or nothing.

        Raises ``RegistryError`` when they were judged on different data.
        """
        by_number = {version.number: version for version in self.versions()}
        ours, champion = by_number[self.number_of(name)], self._alias(CHAMPION)
        theirs = None if champion is None else by_number[champion]
        # A candidate that passes nowhere is refused as such, whatever it was judged on.
        unfit = ours.scores.refusal(None)
        if unfit is None and theirs is not None and ours.data != theirs.data:
            raise RegistryError(
                f"versions {ours.number} and {theirs.number} were judged on different data; "
                "train both on the same data, or --force"
            )
        return unfit or ours.scores.refusal(None if theirs is None else theirs.scores)

    @contextmanager
    def folder(self, name: str = CHAMPION) -> Iterator[Path]:
        """The files of a version, for as long as the block lasts."""
        number = self.number_of(name)
        source = self._client.get_model_version(NAME, number)
        with tempfile.TemporaryDirectory(prefix="slotwise-") as scratch:
            path = self._client.download_artifacts(source.run_id, _FOLDER, scratch)
            yield Path(path)

    def has(self, alias: str) -> bool:
        """Whether some version bears it."""
        return self._alias(alias) is not None

    def _alias(self, alias: str) -> str | None:
        for version in self.versions():
            if alias in version.aliases:
                return version.number
        return None

    def _known(self) -> bool:
        return bool(self._client.search_registered_models(f"name = '{NAME}'"))

    def _experiment(self) -> str:
        if (known := self._client.get_experiment_by_name(EXPERIMENT)) is not None:
            return str(known.experiment_id)
        location = None if self._local is None else (self._local / "artifacts").as_uri()
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=location))


class Run:
    """One training run in the store."""

    def __init__(self, client: Any, run_id: str, artifact_uri: str) -> None:
        self.id, self.artifact_uri = run_id, artifact_uri
        self._client = client

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log numbers; names may be dotted."""
        for name, value in values.items():
            self._client.log_metric(self.id, _metric_name(name), float(value), step=step)

    def file(self, name: str, content: bytes) -> None:
        """Store one file."""
        with tempfile.TemporaryDirectory(prefix="slotwise-") as scratch:
            path = Path(scratch) / Path(name).name
            self._write(lambda: path.write_bytes(content))
            self._write(
                lambda: self._client.log_artifact(self.id, str(path), str(Path(name).parent))
            )

    def store(self, folder: Path, name: str, *, signature: str) -> None:
        """Store an artifact folder as an MLflow model with its signature."""
        with tempfile.TemporaryDirectory(prefix="slotwise-") as scratch:
            described = Path(scratch) / "MLmodel"
            self._write(lambda: _model(signature, self.id).save(str(described)))
            self._write(lambda: self._client.log_artifact(self.id, str(described), name))
        self._write(lambda: self._client.log_artifacts(self.id, str(folder), name))

    def _write(self, write: Callable[[], object]) -> None:
        try:
            write()
        except (OSError, RegistryError) as error:
            raise RegistryError(
                f"{self.artifact_uri}: {error}; make room or check the store. "
                "Nothing was registered"
            ) from error


def _model(kind: str, run_id: str) -> Any:
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, DataType, Schema  # noqa: PLC0415

    asked = [
        ColSpec(DataType.string, "text"),
        ColSpec(DataType.string, "llm", required=False),
        ColSpec(DataType.double, "temperature", required=False),
        ColSpec(DataType.long, "max_tokens", required=False),
    ]
    answered = [ColSpec(DataType.double, name) for name in ("mean", "p10", "p50", "p90")]
    model = Model(run_id=run_id, signature=ModelSignature(Schema(asked), Schema(answered)))
    model.add_flavor("slotwise", kind=kind)
    return model


def _made(folder: Path) -> None:
    try:
        (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RegistryError(f"{folder}: {error}; give a folder that can be written") from error


def _version(entry: Any, aliases: Mapping[str, str]) -> Version:
    tags = entry.tags
    number = str(entry.version)
    return Version(
        number=number,
        kind=tags.get("kind", "?"),
        crps=_score(tags, "crps"),
        coverage_90=_score(tags, "coverage_90"),
        data=tags.get("data", ""),
        aliases=tuple(sorted(a for a, at in aliases.items() if str(at) == number)),
    )


def _score(tags: Mapping[str, str], name: str) -> float | None:
    """One that cannot be read is as good as none: it stands in a store that others write to."""
    try:
        return float(tags[name])
    except (KeyError, ValueError):
        return None


def _metric_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-./ " else "-" for c in name)
