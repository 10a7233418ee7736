"""Which images nearly are the same, and so share a split.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "image_clusters",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("perceptual", sa.String(length=64), nullable=False),
        sa.Column("cluster", sa.String(length=64), nullable=False),
        sa.Column("beside", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["hash"], ["images.hash"], name=op.f("fk_image_clusters_hash_images")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_image_clusters")),
    )
    op.create_index(op.f("ix_image_clusters_number"), "image_clusters", ["number"])
    op.create_index(op.f("ix_image_clusters_cluster"), "image_clusters", ["cluster"])


def downgrade() -> None:
    op.drop_table("image_clusters")
