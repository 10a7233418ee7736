"""How far each answer is from its suggestion, how long it took, and whether the suggestion was a trap.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("outcomes") as table:
        table.add_column(sa.Column("edit_chars", sa.Integer(), nullable=True))
        table.add_column(sa.Column("edit_words", sa.Integer(), nullable=True))
        table.add_column(sa.Column("edit_share", sa.Double(), nullable=True))
        table.add_column(sa.Column("meaning_changed", sa.Boolean(), nullable=True))
        table.add_column(sa.Column("seconds", sa.Double(), nullable=True))
        table.add_column(sa.Column("trap", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("outcomes") as table:
        for name in (
            "trap",
            "seconds",
            "meaning_changed",
            "edit_share",
            "edit_words",
            "edit_chars",
        ):
            table.drop_column(name)
