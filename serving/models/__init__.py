"""Model folders for the engine: a model inside a package, a local folder or a hub id."""

from serving.models.known import KNOWN, prepare
from serving.models.resolve import resolve

__all__ = ["KNOWN", "prepare", "resolve"]
