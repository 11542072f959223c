"""The ``slotwise`` command."""

from serving.cli.app import main

__all__ = ["main"]
