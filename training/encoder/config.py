"""Settings of a training run of the encoder."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EncoderConfig(BaseModel):
    """How the encoder is fine-tuned; every default is what the published figures used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field("minilm", description="minilm, a model folder or a hub id")
    head_tokens: int = Field(96, ge=1, description="tokens kept of a long prompt's beginning")
    tail_tokens: int = Field(62, ge=0, description="and of its end")
    bins: int = Field(80, ge=8, le=512)
    longest: int = Field(16384, ge=64, description="upper edge of the last bin in tokens")
    hidden: int = Field(256, ge=8)
    llm_width: int = Field(32, ge=2)
    dropout: float = Field(0.1, ge=0.0, lt=1.0)
    epochs: int = Field(8, ge=1)
    budget_minutes: float | None = Field(
        None, gt=0.0, description="end, with the learning rate run down, after so long at most"
    )
    prompts_per_batch: int = Field(24, ge=1)
    encoder_rate: float = Field(2e-4, gt=0.0)
    head_rate: float = Field(1e-3, gt=0.0)
    weight_decay: float = Field(0.01, ge=0.0)
    warmup: float = Field(0.06, ge=0.0, lt=1.0, description="share of the steps")
    crps_weight: float = Field(0.02, ge=0.0, description="of the CRPS in tokens in the loss")
    average: float = Field(0.995, ge=0.0, lt=1.0, description="decay of the averaged weights")
    extra_prompts: int = Field(2500, ge=0, description="prompts taken from the extra data")
    extra_prompts_per_epoch: int = Field(
        800, ge=0, description="of these, drawn anew in each epoch"
    )
    train_embeddings: bool = False
    frozen_layers: int = Field(
        2, ge=0, description="lowest layers kept as they came; computed once for all epochs"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    threads: int = Field(2, ge=1)
    seed: int = 0
