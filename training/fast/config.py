"""Settings of a training run of the fast path."""

from pydantic import BaseModel, ConfigDict, Field


class FastConfig(BaseModel):
    """How the fast path is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table_rows: int = Field(default=32768, ge=64, description="rows of the word table")
    penalty: float = Field(default=3.0, gt=0.0, description="of the ridge regression on words")
    bins: int = Field(default=80, ge=8, le=512)
    longest: int = Field(default=16384, ge=64, description="upper edge of the last bin in tokens")
    hidden: int = Field(default=128, ge=8)
    llm_width: int = Field(default=16, ge=2)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    epochs: int = Field(default=4, ge=1)
    prompts_per_batch: int = Field(default=32, ge=1)
    rate: float = Field(default=2e-3, gt=0.0)
    weight_decay: float = Field(default=0.02, ge=0.0)
    crps_weight: float = Field(default=0.02, ge=0.0)
    threads: int = Field(default=1, ge=1, description="more only wait: its products are small")
    seed: int = 0
