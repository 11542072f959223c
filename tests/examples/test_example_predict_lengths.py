"""``examples/predict_lengths.py``."""

import re


def test_each_prompt_has_a_line_with_its_forecast(run):
    printed = run("examples/predict_lengths.py", "Write a haiku.", "Explain TCP to a child.")
    lines = printed.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Write a haiku.", "Explain TCP to a child."]
    for line in lines:
        median, p90 = map(int, re.findall(r"(?:median|below) +(\d+)", line))
        assert 0 < median < p90
