"""What vLLM's chat endpoint makes of a prompt, for engines that are asked without it.

The same tokens, and the sampling that the model's own generation config asks for where the request
says nothing: so that lengths are the same whichever way they were collected.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from predictor.errors import ModelError
from serving.collect.lengths import Asked, CollectSettings

_OF_THE_MODEL = ("repetition_penalty", "presence_penalty", "frequency_penalty", "top_k", "min_p")


def tokens(prompts: Sequence[Asked], model: str) -> Iterator[list[int]]:
    """Each prompt as one user's message; ``model`` is a folder or a hub id."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - heavy

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ModelError(f"model {model} has no tokenizer that can be read: {error}") from error
    for asked in prompts:
        message = {"role": "user", "content": asked.text}
        try:
            yield tokenizer.apply_chat_template(
                [message], add_generation_prompt=True, return_dict=False
            )
        except ValueError as error:
            raise ModelError(f"prompt {asked.id!r}, model {model}: {error}") from error


def sampling(settings: CollectSettings, model: str) -> dict[str, Any]:
    """Arguments of vLLM's ``SamplingParams``."""
    from transformers import GenerationConfig  # noqa: PLC0415 - heavy

    try:
        config = GenerationConfig.from_pretrained(model).to_diff_dict()
    except OSError:  # the model has none
        config = {}
    asked = {name: config[name] for name in _OF_THE_MODEL if config.get(name) is not None}
    return asked | {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "detokenize": False,
    }
