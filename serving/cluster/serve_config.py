"""The YAML that `serve deploy` and a RayService take."""

import yaml

from predictor.errors import ConfigError
from serving.cluster.config import SECRETS, ClusterConfig
from serving.cluster.names import APP

IMPORT_PATH = "serving.cluster.application:build"


def serve_config(config: ClusterConfig, *, host: str, port: int) -> str:
    """Only what differs from the defaults is written, and the model.

    Raises ``ConfigError`` for a secret: it belongs into the environment of the nodes.
    """
    for name in SECRETS:
        if name in config.settings:
            raise ConfigError(
                f"--set {name}: a secret has no place in a config file; set "
                f"SLOTWISE_{name.upper()} in the environment of Ray's nodes"
            )
    document = {
        "http_options": {"host": host, "port": port},
        "applications": [
            {
                "name": APP,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": config.model_dump(exclude_defaults=True),
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)
