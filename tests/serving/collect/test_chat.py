"""Prompts as vLLM's chat endpoint hands them to its engine."""

import json

import pytest

from predictor.errors import ModelError
from serving.collect import chat
from serving.collect.lengths import Asked, CollectSettings

SETTINGS = CollectSettings(base_url="", model="m", temperature=0.5, top_p=0.9, max_tokens=7)


def test_a_prompt_becomes_a_users_message_and_begins_an_answer(model_folder):
    from transformers import AutoTokenizer

    [tokens] = chat.tokens([Asked("p", "Say hi.")], str(model_folder))
    text = AutoTokenizer.from_pretrained(model_folder).decode(tokens)
    assert text.endswith("<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n")
    assert text.count("<|im_start|>") == 3  # the template's own system message, and no more


def test_a_folder_without_a_tokenizer(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="tokenizer"):
        list(chat.tokens([Asked("p", "Hi.")], str(tmp_path)))


def test_the_model_is_heard_where_the_request_says_nothing(tmp_path):
    pytest.importorskip("transformers")
    config = {"top_k": 20, "temperature": 0.1, "repetition_penalty": 1.05, "max_new_tokens": 3}
    (tmp_path / "generation_config.json").write_text(json.dumps(config))
    asked = chat.sampling(SETTINGS, str(tmp_path))
    assert asked["top_k"] == 20
    assert asked["repetition_penalty"] == 1.05
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"]) == (0.5, 0.9, 7)


def test_a_model_without_a_generation_config(tmp_path):
    pytest.importorskip("transformers")
    assert chat.sampling(SETTINGS, str(tmp_path)).keys() == {
        "temperature", "top_p", "max_tokens", "detokenize",
    }  # fmt: skip
