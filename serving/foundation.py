"""What the sidecar and the middleware in front of an engine both stand on."""

from dataclasses import dataclass

from serving.metrics import Metrics
from serving.observations.spool import Spool
from serving.observations.store import ObservationStore, Retention
from serving.observations.writer import ObservationWriter
from serving.prediction.service import PredictionService
from serving.priors import ClassPriors
from serving.settings import Settings
from serving.slo_classes import SloClasses


@dataclass(frozen=True, slots=True)
class Foundation:
    """Classes, predictions and observations, with metrics of them all."""

    classes: SloClasses
    priors: ClassPriors
    metrics: Metrics
    predictions: PredictionService
    store: ObservationStore
    writer: ObservationWriter

    @classmethod
    def of(cls, settings: Settings) -> "Foundation":
        """Put together; raises ``ConfigError``. Nothing runs yet."""
        metrics, priors = Metrics(), ClassPriors()
        classes = SloClasses(
            settings.slo_config,
            on_reload=lambda good: metrics.slo_reloads.labels("ok" if good else "refused").inc(),
        )
        store = ObservationStore.open(settings.database_url.get_secret_value())
        writer = ObservationWriter(
            store,
            Spool(settings.spool, max_bytes=settings.spool_bytes),
            retention=Retention(settings.retention_days, settings.retention_rows),
            on_outcome=lambda outcome, rows: metrics.observations.labels(outcome).inc(rows),
        )
        predictions = PredictionService.of(
            settings, priors=priors, events=metrics, on_change=metrics.model_changed
        )
        metrics.prediction_queue.set_function(lambda: predictions.queued)
        metrics.spooled.set_function(lambda: writer.spooled)
        metrics.database_up.set_function(lambda: float(writer.up))
        return cls(classes, priors, metrics, predictions, store, writer)
