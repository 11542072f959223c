"""What would end a start minutes later, looked at before anything is started."""

from predictor.errors import ConfigError
from scheduler.registry import check_policy
from serving import vllm_releases
from serving.cluster.config import ClusterConfig
from serving.config_file import nearest
from serving.models import resolve
from serving.observations.store import ObservationStore
from serving.policy_folder import make_importable
from serving.predictors import NO_PREDICTOR, find_predictor
from serving.settings import Settings
from serving.settings import load as load_settings
from serving.slo_config import load as load_slo_config


def check(config: ClusterConfig) -> None:
    """Raise a ``SlotwiseError`` that names the fault.

    Model, vLLM's release, settings, policy, SLO classes, predictor and database, as this machine
    sees them; a fleet's nodes are expected to see the same.
    """
    vllm_releases.check(vllm_releases.installed())
    resolve(config.model)
    for name in config.settings:
        if name not in Settings.model_fields:
            hint = nearest(name, Settings.model_fields)
            raise ConfigError(f"--set {name} (or SLOTWISE_{name.upper()}): no such setting: {hint}")
    settings = load_settings(flags=config.settings).settings
    if settings.mode == "off":
        raise ConfigError("mode off: a fleet without Slotwise is `serve run` of Ray's own LLM app")
    make_importable(settings.policy_folder)
    check_policy(settings.policy)
    load_slo_config(settings.slo_config)
    if settings.predictor != NO_PREDICTOR:
        find_predictor(settings.predictor)
    ObservationStore.open(settings.database_url.get_secret_value()).probe()
