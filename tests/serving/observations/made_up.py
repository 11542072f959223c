from serving.observations.observation import Observation


def observation(number: int, **more: object) -> Observation:
    values: dict[str, object] = {
        "id": f"o{number}",
        "at_s": 1_000_000.0 + number,
        "slo_class": "chat",
        "output_tokens": number + 1,
        "lengths": (0.0, 16.0, 64.0, 0.5, 0.5),
        "pit": 0.25,
        "met": number % 2 == 0,
        **more,
    }
    return Observation(**values)  # type: ignore[arg-type]
