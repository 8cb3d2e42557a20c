import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None


def upgrade():
    op.create_table("made_by_alembic", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))
    op.create_index("of_text", "made_by_alembic", ["text"])


def downgrade():
    op.drop_table("made_by_alembic")
