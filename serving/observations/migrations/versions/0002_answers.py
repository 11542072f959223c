"""Requests with several answers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every request stored so far had one."""
    op.add_column(
        "observations", sa.Column("answers", sa.Integer, nullable=False, server_default="1")
    )


def downgrade() -> None:
    """Forget how many there were."""
    op.drop_column("observations", "answers")
