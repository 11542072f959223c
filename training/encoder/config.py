"""Settings of a training run of the encoder."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EncoderConfig(BaseModel):
    """How the encoder is fine-tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field(
        default="minilm",
        description="minilm, a model folder, a hub id, or a predictor trained before",
    )
    head_tokens: int = Field(
        default=96, ge=1, description="tokens kept of a long prompt's beginning"
    )
    tail_tokens: int = Field(default=62, ge=0, description="and of its end")
    bins: int = Field(default=80, ge=8, le=512)
    longest: int = Field(default=16384, ge=64, description="upper edge of the last bin in tokens")
    hidden: int = Field(default=256, ge=8)
    llm_width: int = Field(default=32, ge=2)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    epochs: int = Field(default=8, ge=1)
    patience: int = Field(
        default=2, ge=1, description="end after so many epochs that are no better on validation"
    )
    budget_minutes: float | None = Field(
        default=None,
        gt=0.0,
        description="end, with the learning rate run down, after so long at most",
    )
    prompts_per_batch: int = Field(default=24, ge=1)
    encoder_rate: float = Field(default=2e-4, gt=0.0)
    head_rate: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    warmup: float = Field(default=0.06, ge=0.0, lt=1.0, description="share of the steps")
    crps_weight: float = Field(
        default=0.02, ge=0.0, description="of the CRPS in tokens in the loss"
    )
    average: float = Field(
        default=0.995, ge=0.0, lt=1.0, description="decay of the averaged weights"
    )
    extra_prompts: int = Field(default=5000, ge=0, description="prompts taken from the extra data")
    extra_prompts_per_epoch: int = Field(
        default=800, ge=0, description="of these, drawn anew in each epoch"
    )
    train_embeddings: bool = False
    frozen_layers: int = Field(
        default=2, ge=0, description="lowest layers kept as they came; computed once for all epochs"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, ...")
    threads: int = Field(default=2, ge=1)
    seed: int = 0
