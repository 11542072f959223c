"""The table of observations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "observations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("at_s", sa.Float(53), nullable=False),
        sa.Column("slo_class", sa.String(64), nullable=False),
        sa.Column("llm", sa.String(200)),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("lengths", sa.JSON),
        sa.Column("predicted_mean", sa.Float(53)),
        sa.Column("predicted_median", sa.Float(53)),
        sa.Column("pit", sa.Float(53)),
        sa.Column("ttft_s", sa.Float(53)),
        sa.Column("tpot_s", sa.Float(53)),
        sa.Column("e2e_s", sa.Float(53)),
        sa.Column("met", sa.Boolean),
        sa.Column("violated", sa.String(16)),
        sa.Column("model_name", sa.String(200)),
        sa.Column("model_version", sa.String(64)),
        sa.Column("source", sa.String(16)),
        sa.Column("prompt", sa.Text),
    )
    op.create_index("observations_at_s", "observations", ["at_s"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("observations_at_s", "observations")
    op.drop_table("observations")
