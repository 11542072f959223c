from collections import Counter

import pytest

from training.split import split_of


def test_fractions():
    counts = Counter(split_of(f"conversation{i}") for i in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.7, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.01)


def test_it_never_changes():
    found = [split_of(base) for base in ("QWJhYvA", "0", "", "ünï")]
    assert found == ["train", "test", "validation", "validation"]
