"""Policies that users write: ``MODULE:CLASS``, imported when it is built.

A name alone imports nothing: whoever reads names from strangers can parse them safely.
"""

import difflib
import inspect
import re
from importlib import import_module
from types import ModuleType
from typing import cast

from predictor.errors import UnknownPolicyError
from scheduler.policy import Policy

_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
# What the methods of a policy are called with, besides ``self``.
_METHODS = {"plan": ("snapshot", "previous"), "step": ("snapshot", "plan")}


def names_class(rule: str) -> bool:
    """Whether a policy is named by its class."""
    return ":" in rule


def check_form(rule: str) -> None:
    """Raise ``UnknownPolicyError`` for what is no MODULE:CLASS; imports nothing."""
    if not _FORM.fullmatch(rule):
        raise UnknownPolicyError(
            f"policy {rule!r}: a policy of your own is named MODULE:CLASS, such as "
            "own_policy:ShortestFirst; of the suffixes it may have -oracle and @256"
        )


def build(rule: str) -> Policy:
    """Import the class and build a policy; raises ``UnknownPolicyError``.

    What the module's own code raises is left as it is: its traceback shows the line at fault.
    """
    check_form(rule)
    made = _constructed(rule, _found(rule))
    if not isinstance(getattr(made, "name", None), str):
        raise UnknownPolicyError(
            f"policy {rule!r}: it has no name: give the class an attribute `name` that is text"
        )
    return made


def _found(rule: str) -> type[Policy]:
    """The class, with a policy's methods."""
    module_name, _, name = rule.partition(":")
    module = _imported(rule, module_name)
    found = getattr(module, name, None)
    if not inspect.isclass(found):
        raise UnknownPolicyError(_no_class(rule, module, name))
    for method, arguments in _METHODS.items():
        if not _takes(getattr(found, method, None), len(arguments)):
            raise UnknownPolicyError(
                f"policy {rule!r}: the class is no policy: write a method "
                f"{method}(self, {', '.join(arguments)}), as scheduler.Policy describes it"
            )
    return cast("type[Policy]", found)


def _imported(rule: str, name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UnknownPolicyError(
                f"policy {rule!r}: there is no module {error.name!r}: run the command in the "
                "folder that holds it, or install it"
            ) from error
        raise _broken(rule, name, error) from error
    except ImportError as error:
        raise _broken(rule, name, error) from error


def _broken(rule: str, module: str, error: ImportError) -> UnknownPolicyError:
    return UnknownPolicyError(
        f"policy {rule!r}: module {module!r} cannot be imported: {error}; install what it needs, "
        "or correct its imports"
    )


def _no_class(rule: str, module: ModuleType, name: str) -> str:
    classes = [each for each, value in vars(module).items() if inspect.isclass(value)]
    near = difflib.get_close_matches(name, classes, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "check the name, and that this is your file."
    where = getattr(module, "__file__", None) or f"module {module.__name__!r}"
    return f"policy {rule!r}: {where} has no class {name!r}: {hint}"


def _takes(method: object, count: int) -> bool:
    """Whether a method can be called with ``self`` and so many arguments."""
    if not callable(method):
        return False
    try:
        inspect.signature(method).bind(*range(count + 1))
    except (TypeError, ValueError):  # ValueError: nothing is known of it
        return False
    return True


def _constructed(rule: str, policy: type[Policy]) -> Policy:
    try:
        inspect.signature(policy).bind()
    except TypeError as error:
        raise UnknownPolicyError(
            f"policy {rule!r}: its constructor wants arguments ({error}): give them defaults, or "
            "name a subclass that passes them"
        ) from error
    return policy()
