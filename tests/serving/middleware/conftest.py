"""The server of ``test_asgi`` for every file here."""

import pytest

pytest.importorskip("fastapi", reason="the middleware is not installed (extra: serving)")

from test_asgi import no_predictor, predictor, serve

__all__ = ["no_predictor", "predictor", "serve"]
