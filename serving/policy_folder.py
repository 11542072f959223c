"""The folder beside the installed packages from which a policy ``MODULE:CLASS`` is imported."""

import sys
from pathlib import Path

from scheduler.own_policy import names_class


def own_folder(*policies: str) -> Path | None:
    """The current folder, for commands, where one of the policies is a class of the user's."""
    return Path.cwd() if any(map(names_class, policies)) else None


def make_importable(folder: Path | None) -> None:
    """Let this process import from ``folder`` what no installed package has.

    The last place to look in: a file of the user's must not hide a package of ours or of others.
    """
    if folder is not None and str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))
