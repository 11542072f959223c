"""Run the sidecar from Python, and ask it from another process.

    python examples/sidecar.py serve
    python examples/sidecar.py ask "Write a haiku."

SLOTWISE_PORT and all other SLOTWISE_* variables count, as for `slotwise sidecar`.
"""

import sys

from serving import PromptIn, ScheduleIn, Settings, SidecarClient
from serving.sidecar.run import run

# One engine that runs nothing: two requests wait for its only slot.
ENGINE = {
    "name": "engine-0",
    "max_num_seqs": 1,
    "latency": {"step_ms": 10, "decode_ms": 1, "prompt_token_ms": 0.1},
}


def ask(settings: Settings, text: str) -> None:
    """Forecast one output, then let the policy order it beside a short request."""
    url = f"http://{settings.host}:{settings.port}"
    with SidecarClient(url) as sidecar:
        forecast = sidecar.predict(PromptIn(prompt=text))
        print(f"{text!r}: 90 % of such outputs have at most {forecast.quantiles['0.9']:.0f} tokens")
        waiting = {"prompt_tokens": 50, "waited_ms": 0, "e2e_ms": 20_000}
        requests = [
            {"id": "yours", "lengths": forecast.lengths, **waiting},
            {"id": "short", "lengths": [0, 10, 20, 0.5, 0.5], **waiting},
        ]
        asked = ScheduleIn.model_validate({"instances": [{**ENGINE, "requests": requests}]})
        decision = sidecar.schedule(asked).instances[0]
        for place in decision.places:
            print(f"{place.id}: {place.reason.text}")


def main(arguments: list[str]) -> None:
    """Serve until Ctrl-C, or ask once."""
    settings = Settings()
    if arguments[:1] == ["ask"]:
        ask(settings, " ".join(arguments[1:]) or "Write a haiku.")
    else:
        run(settings)


if __name__ == "__main__":
    main(sys.argv[1:])
