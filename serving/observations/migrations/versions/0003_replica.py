"""Which engine of a fleet answered."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody knows of those stored so far, nor where there is one engine."""
    op.add_column("observations", sa.Column("replica", sa.Integer))


def downgrade() -> None:
    """Forget who answered."""
    op.drop_column("observations", "replica")
