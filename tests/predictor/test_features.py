from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.features import BUCKETS, feature_names, lexical_features, ngram_buckets
from predictor.prompt import Prompt


def one(text: str) -> dict[str, float]:
    return dict(zip(feature_names(), lexical_features([Prompt(text)])[0], strict=True))


def test_what_a_prompt_asks_for_is_seen():
    row = one("Write a short essay of 300 words with 5 funny examples. Ready?")
    assert row["log_asked_tokens"] == pytest.approx(np.log1p(420))
    assert row["log_asked_items"] == pytest.approx(np.log1p(5))
    assert row["ends_question"] == 1.0
    assert row["count_brief"] > 0
    assert row["head_write"] == 1.0
    assert one("```py\nx = 1\n```")["fences"] == 2.0
    assert one("你好")["non_latin_share"] == 1.0


@given(st.text())
def test_any_text_has_finite_features(text):
    assert np.isfinite(lexical_features([Prompt(text)])).all()
    buckets = ngram_buckets([Prompt(text)])[0]
    assert ((buckets >= 0) & (buckets < BUCKETS)).all()
    assert len(set(buckets.tolist())) == len(buckets)


@pytest.mark.parametrize("text", ["", "a" * 200_000, "word " * 40_000, "\n" * 200_000, "\ud800"])
def test_odd_texts_are_quick(text):
    started = perf_counter()
    assert np.isfinite(lexical_features([Prompt(text)])).all()
    ngram_buckets([Prompt(text)])
    assert perf_counter() - started < 0.25


def test_digits_without_end_are_no_trouble():
    assert np.isfinite(lexical_features([Prompt("9" * 5000 + " words ٣٤ ²")])).all()


def test_hashing_is_the_same_everywhere():
    assert ngram_buckets([Prompt("hello")])[0].tolist() == [7074, 42630, 46872]
