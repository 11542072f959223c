"""The YAML that `serve deploy` and a RayService take."""

import yaml

from serving.cluster.config import ClusterConfig
from serving.cluster.names import APP

IMPORT_PATH = "serving.cluster.application:build"


def serve_config(config: ClusterConfig, *, host: str, port: int) -> str:
    """Only what differs from the defaults is written, and the model."""
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
