"""The paths that our own servers answer on."""

import pytest


@pytest.fixture(scope="session")
def sidecar_paths(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Of the sidecar."""
    from serving.settings import Settings
    from serving.sidecar.app import create_app

    folder = tmp_path_factory.mktemp("sidecar")
    settings = Settings(database_url=f"sqlite:///{folder}/o.db", spool=folder / "spool")
    return set(create_app(settings).openapi()["paths"])
