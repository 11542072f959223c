"""Settings of a training run of the fast path."""

from pydantic import BaseModel, ConfigDict, Field


class FastConfig(BaseModel):
    """How the fast path is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table_rows: int = Field(default=16384, ge=64, description="rows of the word table")
    width: int = Field(default=24, ge=2, description="and its columns")
    bins: int = Field(default=80, ge=8, le=512)
    longest: int = Field(default=16384, ge=64, description="upper edge of the last bin in tokens")
    hidden: int = Field(default=128, ge=8)
    llm_width: int = Field(default=16, ge=2)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    word_dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    epochs: int = Field(default=14, ge=1)
    prompts_per_batch: int = Field(default=64, ge=1)
    rate: float = Field(default=2e-3, gt=0.0)
    weight_decay: float = Field(default=0.02, ge=0.0)
    crps_weight: float = Field(default=0.02, ge=0.0)
    threads: int = Field(default=2, ge=1)
    seed: int = 0
