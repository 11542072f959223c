"""The sidecar's application factory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from serving.health_head import HealthHead
from serving.settings import Settings
from serving.sidecar.door import Door
from serving.sidecar.errors import add_error_handlers
from serving.sidecar.routes import observations, operate, page, predict, schedule
from serving.sidecar.services import Services

_DESCRIPTION = (
    "Predicts how long answers of an LLM will be, decides who is served next, and learns from "
    "what became of requests. Times are in milliseconds."
)


def create_app(settings: Settings, services: Services | None = None) -> FastAPI:
    """Return an application; ``services`` are built from the settings unless given.

    Its lifespan starts and stops them.
    """
    used = services or Services.of(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await used.start()
        try:
            yield
        finally:
            await used.stop()

    app = FastAPI(
        title="Slotwise sidecar",
        version=version("slotwise"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        root_path=settings.root_path.rstrip("/"),
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = used
    add_error_handlers(app)
    for routes in (predict, schedule, observations, operate, page):
        app.include_router(routes.router())
    app.add_middleware(Door, settings=settings, metrics=used.metrics)
    app.add_middleware(HealthHead)
    used.traces.follow(app)
    return app
