"""Reading a result document back: the records of its requests, and its policies and classes."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from serving.bench.records import RequestRecord

Document = Mapping[str, Any]
"""What ``summary.result_document`` returns, or the result file that holds it."""

TPOT_DEFINITION = (
    "TPOT = (e2e - TTFT) / (output tokens - 1), 0 for a single token, averaged over all "
    "answered requests."
)


def policies(document: Document) -> dict[str, Mapping[str, Any]]:
    """Return the figures of each policy, in the order of the run."""
    return dict(document.get("policies", {}))


def class_names(document: Document) -> list[str]:
    """Return the names of all SLO classes that any policy served, sorted."""
    return sorted({name for run in policies(document).values() for name in run.get("classes", {})})


def records(document: Document) -> dict[str, list[RequestRecord]]:
    """Return the requests of each policy by arrival; keys that a record does not know are left."""
    known = {field.name for field in fields(RequestRecord)}
    found: dict[str, list[RequestRecord]] = {name: [] for name in policies(document)}
    for row in document.get("requests", []):
        record = RequestRecord(**{key: row[key] for key in known & row.keys()})
        found.setdefault(row["policy"], []).append(record)
    for group in found.values():
        group.sort(key=lambda record: record.arrival_s)
    return found


def target_ms(document: Document, slo_class: str, name: str) -> float | None:
    """Return the target ``name`` (``"e2e_ms"``, ...) of a class, if ``config`` carries one."""
    classes = document.get("config", {}).get("slo_classes") or {}
    value = (classes.get(slo_class) or {}).get(name)
    return None if value is None else float(value)
