"""Policies of the user's, by MODULE:CLASS."""

import sys

import pytest

from predictor.errors import UnknownPolicyError
from scheduler.registry import PolicyName, check_policy, create_policy
from scheduler.warmup import warm_up

MODULE = """
from scheduler import StepDecision

class Mine:
    name = "mine"
    def plan(self, snapshot, previous):
        return None
    def step(self, snapshot, plan):
        return StepDecision(order=snapshot.waiting.handle[::-1])

class Wanting(Mine):
    def __init__(self, weight):
        self.weight = weight

class Defaulted(Wanting):
    def __init__(self, weight=2, *, more=()):
        self.weight = weight

class Nameless(Mine):
    name = None

class Stepless:
    name = "stepless"
    def plan(self, snapshot, previous):
        return None

class Short(Mine):
    def step(self, snapshot):
        return None

def factory():
    return Mine()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A name under which a test may import the module."""
    name = f"made_up_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_needs.py").write_text("import nothing_has_this_name\n")
    (tmp_path / f"{name}_lacks.py").write_text("from scheduler import NoSuchName\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for each in [each for each in sys.modules if each.startswith(name)]:
        del sys.modules[each]


def refused(name):
    with pytest.raises(UnknownPolicyError) as caught:
        check_policy(name)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_class_is_imported_and_built(module):
    assert create_policy(f"{module}:Mine").name == "mine"
    assert create_policy(f"{module}:Defaulted", repeatable=True).weight == 2


def test_it_has_the_suffixes_of_other_policies(module):
    parsed = check_policy(f"{module}:Mine@64-oracle")
    expected = PolicyName(f"{module}:Mine@64-oracle", f"{module}:Mine@64", oracle=True)
    assert (parsed, parsed.own) == (expected, True)
    assert create_policy(parsed.full).name == "mine@64"


def test_it_is_warmed_up_as_others_are(module):
    warm_up(f"{module}:Mine")


def test_to_parse_a_name_imports_nothing(module):
    assert PolicyName.parse(f"{module}:Mine").own
    assert PolicyName.parse("nothing_has_this_name:Mine").own
    assert module not in sys.modules
    assert not PolicyName.parse("slotwise[due+newcomers]@256").own


@pytest.mark.parametrize(
    "name", ["a:", ":A", "a:B:C", "a b:C", "../a:B", "a.:B", "a:B[part]", "a/b:C"]
)
def test_what_has_not_the_form_is_refused_before_anything_is_imported(name):
    with pytest.raises(UnknownPolicyError, match=r"named MODULE:CLASS, such as own_policy:"):
        PolicyName.parse(name)


def test_no_such_module():
    said = refused("nothing_has_this_name:Mine")
    assert "there is no module 'nothing_has_this_name': run the command in the folder" in said


def test_no_such_module_in_a_package():
    assert "there is no module 'scheduler.nothing'" in refused("scheduler.nothing:Mine")


@pytest.mark.parametrize(
    ("ending", "said"), [("_needs", "nothing_has_this_name"), ("_lacks", "NoSuchName")]
)
def test_a_module_that_cannot_be_imported_names_what_it_lacks(module, ending, said):
    message = refused(f"{module}{ending}:Mine")
    assert "cannot be imported" in message
    assert said in message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mime", "has no class 'Mime': did you mean 'Mine'?"),
        ("Zzzzz", "has no class 'Zzzzz': check the name"),
        ("factory", "has no class 'factory'"),
        ("Wanting", "constructor wants arguments (missing a required argument: 'weight'): give"),
        ("Nameless", "it has no name: give the class an attribute `name`"),
        ("Stepless", "write a method step(self, snapshot, plan)"),
        ("Short", "write a method step(self, snapshot, plan)"),
    ],
)
def test_a_class_that_is_no_policy(module, name, said):
    assert said in refused(f"{module}:{name}")


def test_a_class_without_python_methods_is_no_policy():
    assert "the class is no policy: write a method plan(" in refused("builtins:int")


def test_what_the_module_itself_raises_keeps_its_traceback(module, tmp_path):
    (tmp_path / f"{module}_raises.py").write_text("raise ZeroDivisionError\n")
    with pytest.raises(ZeroDivisionError):
        check_policy(f"{module}_raises:Mine")
