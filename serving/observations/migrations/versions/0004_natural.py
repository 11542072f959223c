"""Whether the model chose the length of an output, or the request forced it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those stored so far count as natural: nobody noted it."""
    natural = sa.Column("natural", sa.Boolean, nullable=False, server_default=sa.true())
    op.add_column("observations", natural)


def downgrade() -> None:
    """Forget which lengths were forced."""
    op.drop_column("observations", "natural")
