"""What was served when, and what a challenger said unseen.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "registry_events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("base", sa.String(256), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("name", sa.String(256), nullable=True),
        sa.Column("before", sa.String(256), nullable=True),
        sa.Column("share", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_events")),
    )
    op.create_index(op.f("ix_registry_events_base"), "registry_events", ["base"])
    op.create_table(
        "shadow_answers",
        sa.Column("suggestion", sa.String(32), nullable=False),
        sa.Column("challenger", sa.String(256), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("agrees", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["suggestion"],
            ["suggestions.id"],
            name=op.f("fk_shadow_answers_suggestion_suggestions"),
        ),
        sa.PrimaryKeyConstraint("suggestion", "challenger", name=op.f("pk_shadow_answers")),
    )


def downgrade() -> None:
    op.drop_table("shadow_answers")
    op.drop_index(op.f("ix_registry_events_base"), table_name="registry_events")
    op.drop_table("registry_events")
