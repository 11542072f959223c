"""Predict how long outputs will be, with the predictor that ships with the package.

    python examples/predict_lengths.py "Write a haiku." "Explain TCP to a child, step by step."

A forecast is a distribution of output tokens, so every quantile is at hand.
"""

import sys

import predictor
from predictor import LengthDistribution, Prompt


def main(texts: list[str]) -> None:
    """Print mean, median and 90th percentile for each prompt."""
    # A folder of `slotwise train` or `slotwise onboard` may stand in place of "packaged".
    forecaster = predictor.load("packaged")
    prompts = [Prompt(text, max_tokens=2048) for text in texts]
    for text, lengths in zip(texts, forecaster.predict(prompts), strict=True):
        print(f"{text[:40]:40}  {_figures(lengths)}")


def _figures(lengths: LengthDistribution) -> str:
    median, p90 = float(lengths.quantile(0.5)), float(lengths.quantile(0.9))
    return f"mean {lengths.mean:4.0f}  median {median:4.0f}  90 % below {p90:4.0f} tokens"


if __name__ == "__main__":
    main(sys.argv[1:] or ["Write a haiku.", "Write an essay about the sea, of ten pages."])
