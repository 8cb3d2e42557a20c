import os

from alembic import context
from sqlalchemy import create_engine

url = os.environ["POSTERN_TEST_URL"].split("?")[0].replace("postgresql://", "postgresql+psycopg://")
with create_engine(url).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
