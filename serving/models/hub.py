"""Models that an engine fetches from a hub: whether they are here, or the hub is there.

An engine that cannot fetch its model tries for minutes and ends in a traceback.
"""

import os
import socket
from pathlib import Path
from urllib.request import getproxies

import httpx

from predictor.errors import ModelError
from serving.models.resolve import is_local

_ENDPOINT = "https://huggingface.co"
_WITHIN_S = 5.0
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_YES = frozenset({"1", "on", "yes", "true"})
_PORTS = {"http": 80, "https": 443}


def check_fetchable(model: str) -> str:
    """``model`` itself; raises ``ModelError`` where it is neither here nor can be fetched.

    ``model`` as :func:`serving.models.resolve` returns it. Behind a proxy, or with another hub
    than Hugging Face's, nothing is looked at.
    """
    if is_local(model) or _set("VLLM_USE_MODELSCOPE") or _cached(model):
        return model
    if offline := next((name for name in _OFFLINE if _set(name)), None):
        raise _unfetchable(model, f"{offline} is set and the cache {hub_cache()} does not hold it")
    endpoint = os.environ.get("HF_ENDPOINT") or _ENDPOINT
    if not getproxies().get(httpx.URL(endpoint).scheme):
        _connect(model, endpoint)
    return model


def hub_cache() -> Path:
    """Where Hugging Face's libraries keep what they fetched."""
    for name, rest in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        if base := os.environ.get(name):
            return Path(base).expanduser() / rest
    return Path.home() / ".cache" / "huggingface" / "hub"


def _cached(model: str) -> bool:
    snapshots = hub_cache() / f"models--{model.replace('/', '--')}" / "snapshots"
    return any(snapshots.glob("*/*.json"))


def _connect(model: str, endpoint: str) -> None:
    url = httpx.URL(endpoint)
    try:
        address = (url.host, url.port or _PORTS[url.scheme])
        socket.create_connection(address, timeout=_WITHIN_S).close()
    except KeyError as error:
        raise _unfetchable(
            model, f"HF_ENDPOINT {endpoint!r} is no URL such as {_ENDPOINT}"
        ) from error
    except OSError as error:
        raise _unfetchable(model, f"the hub {endpoint} cannot be reached ({error})") from error


def _set(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in _YES


def _unfetchable(model: str, why: str) -> ModelError:
    return ModelError(
        f"model {model!r} is no local folder, and {why}; give a folder with the model, set "
        "HF_ENDPOINT to a mirror or HF_HUB_CACHE to a cache that holds it, or use --model smollm2"
    )
