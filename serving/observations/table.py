"""The table of observations; its history stands in ``migrations/versions``."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    true,
)

metadata = MetaData()

observations = Table(
    "observations",
    metadata,
    # Given by the client or drawn on arrival: sending one twice stores it once.
    Column("id", String(64), primary_key=True),
    Column("at_s", Float(53), nullable=False),
    Column("slo_class", String(64), nullable=False),
    Column("llm", String(200)),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer, nullable=False),
    Column("answers", Integer, nullable=False, server_default="1"),
    Column("lengths", JSON),
    Column("predicted_mean", Float(53)),
    Column("predicted_median", Float(53)),
    Column("pit", Float(53)),
    Column("ttft_s", Float(53)),
    Column("tpot_s", Float(53)),
    Column("e2e_s", Float(53)),
    Column("met", Boolean),
    Column("violated", String(16)),
    Column("model_name", String(200)),
    Column("model_version", String(64)),
    Column("source", String(16)),
    Column("prompt", Text),
    Column("replica", Integer),
    Column("natural", Boolean, nullable=False, server_default=true()),
    Index("observations_at_s", "at_s"),
)
