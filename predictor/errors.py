"""The exception tree of Slotwise. Every message names the input at fault and the remedy.

SlotwiseError
├── InputError              a file, flag or value from outside is wrong
│   ├── DatasetError        a workload or label file is missing or malformed
│   ├── ConfigError         an SLO or settings file is wrong
│   ├── UnknownPolicyError  no policy has this name, or the class so named is no policy
│   └── ModelError          a model folder or package cannot be used
├── TrainingError           a training run went wrong and was given up
├── RegistryError           the store of trained predictors cannot be used, or lacks a version
├── ArtifactError           a stored predictor is missing, damaged or of another kind
├── DistributionError       probabilities or bin edges that are not a distribution
├── PredictionError         a predictor gave no usable answer: it failed, died, hung or is late
├── StoreError              observations can be kept neither in the database nor beside it
├── SnapshotError           the tracker was told something impossible of a request
├── SimulationError         a simulated engine cannot go on
├── EngineError             the engine did not start, died, or its port is taken
└── ClusterError            a Ray cluster is not there, lets nobody in, lacks room or disagrees
"""


class SlotwiseError(Exception):
    """Base of all errors that Slotwise raises on purpose."""


class InputError(SlotwiseError):
    """A file, flag or value from outside is wrong."""


class DatasetError(InputError):
    """A workload or label file is missing or malformed."""


class ConfigError(InputError):
    """An SLO or settings file is wrong."""


class UnknownPolicyError(InputError):
    """No policy has this name, or the class so named is no policy."""


class ModelError(InputError):
    """A model folder or package cannot be used."""


class TrainingError(SlotwiseError):
    """A training run went wrong and was given up."""


class RegistryError(SlotwiseError):
    """The store of trained predictors cannot be used, or lacks a version."""


class ArtifactError(SlotwiseError):
    """A stored predictor is missing, damaged or of another kind."""


class DistributionError(SlotwiseError, ValueError):
    """Probabilities or bin edges that are not a distribution."""


class PredictionError(SlotwiseError):
    """A predictor gave no usable answer: it failed, died, hung or is late."""


class StoreError(SlotwiseError):
    """Observations can be kept neither in the database nor beside it."""


class SnapshotError(SlotwiseError):
    """The tracker was told something impossible of a request."""


class SimulationError(SlotwiseError):
    """A simulated engine cannot go on."""


class EngineError(SlotwiseError):
    """The engine did not start, died, or its port is taken."""


class ClusterError(SlotwiseError):
    """A Ray cluster is not there, lets nobody in, lacks room, or its parts disagree."""
