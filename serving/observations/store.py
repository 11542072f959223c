"""Observations in a database: SQLite or PostgreSQL, the same statements for both."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from predictor.errors import StoreError
from serving.observations.database import migrate, open_engine
from serving.observations.observation import Observation
from serving.observations.refused import Refused
from serving.observations.table import observations

_DAY_S = 86_400.0
# Deleted at once: a long transaction would hold up writers.
_CHUNK = 5_000
# Tried and rolled back, to tell a fault of a row from one of the database.
_GOOD = Observation(id="probe", at_s=0.0, slo_class="probe", output_tokens=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long observations are kept, and how many."""

    days: float
    rows: int


class ObservationStore:
    """Blocking; every method raises ``StoreError`` when the database cannot be used.

    Each call is a transaction. :meth:`add` may be called again with what it was given before:
    an id is stored once.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._migrated = False

    @classmethod
    def open(cls, url: str) -> "ObservationStore":
        """Nothing is connected yet."""
        return cls(open_engine(url))

    @property
    def backend(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    def probe(self) -> None:
        """Find out whether the database answers, its tables up to date."""
        self._ready()
        self._scalar(select(1))

    def add(self, rows: Sequence[Observation]) -> list[Refused]:
        """Store all that the database takes; returns the others once these are safe on disk.

        Cost of a row that is refused: some 2 * log2(rows) transactions.
        """
        self._ready()
        if not rows:
            return []
        fault = self._fault_of(rows)
        if fault is None:
            return []
        if len(rows) > 1:
            middle = len(rows) // 2
            return [*self.add(rows[:middle]), *self.add(rows[middle:])]
        if not self._takes_another():
            raise _failed(fault)
        return [Refused(rows[0], _said(fault))]

    def count(self) -> int:
        """How many there are."""
        return int(self._scalar(select(func.count()).select_from(observations)))

    def latest(self, limit: int) -> list[Observation]:
        """The latest, oldest of them first."""
        self._ready()
        query = select(observations).order_by(observations.c.at_s.desc()).limit(limit)
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(query).mappings().all()
        except SQLAlchemyError as error:
            raise _failed(error) from error
        return [_observation(dict(row)) for row in reversed(rows)]

    def prune(self, retention: Retention, *, now_s: float | None = None) -> int:
        """Delete what is too old and, oldest first, what is too much; returns how many."""
        oldest_s = (time.time() if now_s is None else now_s) - retention.days * _DAY_S
        gone = self._delete_where(select(observations.c.id).where(observations.c.at_s < oldest_s))
        surplus = self.count() - retention.rows
        if surplus > 0:
            oldest = select(observations.c.id).order_by(observations.c.at_s)
            gone += self._delete_where(oldest, at_most=surplus)
        return gone

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()

    def _ready(self) -> None:
        if not self._migrated:
            migrate(self._engine)
            self._migrated = True

    def _fault_of(self, rows: Sequence[Observation]) -> Exception | None:
        """Why these cannot be stored together though the database is there; ``None``: they are."""
        try:
            with self._engine.begin() as connection:
                connection.execute(self._insert(), [_row(row) for row in rows])
        # Drivers raise Python's own for what they cannot encode: surrogates, too large integers.
        except (SQLAlchemyError, ValueError, TypeError, ArithmeticError) as error:
            if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
                raise _failed(error) from error
            return error
        return None

    def _takes_another(self) -> bool:
        """Whether a row is taken that is surely good: else it is not the rows."""
        try:
            with self._engine.connect() as connection:
                connection.execute(self._insert(), [_row(_GOOD)])
                connection.rollback()
        except SQLAlchemyError:
            return False
        return True

    def _insert(self) -> Any:
        dialect = postgresql if self.backend == "postgresql" else sqlite
        if self.backend in ("postgresql", "sqlite"):
            return dialect.insert(observations).on_conflict_do_nothing(index_elements=["id"])
        return insert(observations)

    def _scalar(self, query: Any) -> Any:
        self._ready()
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).scalar_one()
        except SQLAlchemyError as error:
            raise _failed(error) from error

    def _delete_where(self, ids: Any, *, at_most: int | None = None) -> int:
        self._ready()
        gone = 0
        while at_most is None or gone < at_most:
            chunk = _CHUNK if at_most is None else min(_CHUNK, at_most - gone)
            chosen = ids.limit(chunk).scalar_subquery()
            try:
                with self._engine.begin() as connection:
                    found = connection.execute(
                        delete(observations).where(observations.c.id.in_(chosen))
                    ).rowcount
            except SQLAlchemyError as error:
                raise _failed(error) from error
            gone += found
            if found < chunk:
                break
        return gone


def _row(observation: Observation) -> dict[str, Any]:
    row = asdict(observation)
    row["lengths"] = None if observation.lengths is None else list(observation.lengths)
    return row


def _observation(row: dict[str, Any]) -> Observation:
    lengths = row.pop("lengths")
    return Observation(**row, lengths=None if lengths is None else tuple(lengths))


def _failed(error: Exception) -> StoreError:
    return StoreError(f"the database: {_said(error)}")


def _said(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    said = str(cause).strip()
    return said.splitlines()[0] if said else type(cause).__name__
