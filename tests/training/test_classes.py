import pytest

from training.classes import slo_class


@pytest.mark.parametrize(
    "prompt",
    [
        "Write a Python program",
        "what does ```x``` do",
        "fix my SQL",
        "in C++ please",
        "C# generics",
        "a regex for dates",
    ],
)
def test_code(prompt):
    assert slo_class(prompt) == "code"


@pytest.mark.parametrize("prompt", ["", "Tell me a story", "capital of France", "scripture", "C"])
def test_chat(prompt):
    assert slo_class(prompt) == "chat"


def test_only_the_head_of_a_long_prompt_is_read():
    assert slo_class("a " * 100_000 + "python") == "chat"
