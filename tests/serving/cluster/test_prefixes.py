from types import SimpleNamespace

import numpy as np

from serving.cluster.prefixes import PrefixMemory, prompt_text, prompt_tokens

SYSTEM = "You are a helpful assistant who answers at length. " * 20


def test_a_beginning_that_went_somewhere_is_there():
    memory = PrefixMemory()
    memory.sent(SYSTEM + "first question", "a")
    found = memory.cached(SYSTEM + "second, quite another", ["a", "b"], 250.0)
    assert found[0] > 180
    assert found[1] == 0


def test_only_whole_beginnings_count():
    memory = PrefixMemory()
    memory.sent("x" * 300 + SYSTEM, "a")
    memory.sent(SYSTEM, "b")
    np.testing.assert_array_equal(memory.cached("y" + SYSTEM, ["a", "b"], 100.0), [0.0, 0.0])


def test_short_prompts_are_not_remembered():
    memory = PrefixMemory()
    memory.sent("hello", "a")
    assert memory.cached("hello", ["a"], 2.0)[0] == 0


def test_a_replica_that_is_gone_holds_nothing():
    memory = PrefixMemory()
    memory.sent(SYSTEM, "a")
    memory.forget("a")
    assert memory.cached(SYSTEM, ["a"], 100.0)[0] == 0


def test_more_is_never_cached_than_the_prompt_has():
    memory = PrefixMemory()
    memory.sent(SYSTEM, "a")
    assert 0 < memory.cached(SYSTEM, ["a"], 100.0)[0] <= 100


def test_the_text_of_a_request():
    parts = [{"type": "image_url"}, {"type": "text", "text": "T"}]
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": parts}]
    assert prompt_text([SimpleNamespace(messages=messages)]) == "S\nT"
    assert prompt_text([SimpleNamespace(prompt=["P", "Q"])]) == "P\nQ"
    assert prompt_text([SimpleNamespace(prompt="P")]) == "P"
    assert prompt_text([SimpleNamespace(prompt=[1, 2])]) == prompt_text([]) == ""


def test_tokens_are_counted_or_guessed():
    assert prompt_tokens([SimpleNamespace(prompt="x" * 400)]) == 100
    assert prompt_tokens([SimpleNamespace(prompt=[1, 2, 3])]) == 3
    assert prompt_tokens([SimpleNamespace(prompt=[[1, 2], [3]])]) == 3
    assert prompt_tokens([]) == prompt_tokens([SimpleNamespace(prompt=None)]) == 1
