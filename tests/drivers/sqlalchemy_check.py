"""SQLAlchemy for a reader: reflection of everything, ORM queries, by three drivers. The same as without Postern."""

import asyncio
import warnings

from sqlalchemy import MetaData, create_engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session, aliased, joinedload, selectinload

from checks import DIRECT, POSTERN, Check, equal, seal

SCHEMAS = ("shop", "public", "hidden", "ext", "information_schema", "pg_catalog")


def url(of, driver):
    return of.split("?")[0].replace("postgresql://", f"postgresql+{driver}://")


def reflected(engine):
    """All that an inspector tells, schema by schema."""
    inspector = inspect(engine)
    found = [inspector.get_schema_names(), inspector.default_schema_name]
    for schema in SCHEMAS:
        found.append([
            inspector.get_table_names(schema=schema), inspector.get_view_names(schema=schema),
            inspector.get_materialized_view_names(schema=schema), inspector.get_temp_table_names(),
            inspector.get_sequence_names(schema=schema), inspector.get_enums(schema=schema),
            inspector.get_domains(schema=schema), inspector.get_foreign_table_names(schema=schema),
        ])
        for kind in ("columns", "pk_constraint", "foreign_keys", "indexes", "unique_constraints",
                     "check_constraints", "table_comment", "table_options"):
            found.append(sorted(getattr(inspector, f"get_multi_{kind}")(schema=schema).items(), key=str))
    for view in inspector.get_view_names(schema="shop"):
        found.append(inspector.get_view_definition(view, schema="shop"))
    found.append([inspector.has_table("customers"), inspector.has_table("no_such"), inspector.has_sequence("tickets")])
    tables = MetaData()
    tables.reflect(engine, schema="shop", views=True)
    found.append([(str(table), [(c.name, str(c.type)) for c in table.columns]) for table in tables.sorted_tables])
    return found


def queried(engine):
    """What an application asks by its models."""
    base = automap_base(metadata=MetaData(schema="shop"))
    base.prepare(autoload_with=engine, schema="shop")
    customer, order = base.classes.customers, base.classes.orders
    total = select(order.customer_id, func.sum(order.total).label("total")).group_by(order.customer_id).cte("totals")
    other = aliased(customer)
    statements = [
        select(customer.id, customer.name).where(customer.name.ilike("a%")).order_by(customer.name).limit(5).offset(0),
        select(customer.name, total.c.total).join(total, total.c.customer_id == customer.id).where(total.c.total > 1),
        select(func.count(), func.max(order.placed)).select_from(order).having(func.count() > 0),
        select(order.id, func.row_number().over(partition_by=order.customer_id, order_by=order.placed)),
        select(customer.id).where(customer.id.in_([1, 2, 3]), select(order).where(order.customer_id == customer.id).exists()),
        select(customer.name, other.name).join(other, other.id > customer.id).distinct(),
        select(customer.tags[1], customer.extra["a"].astext, func.lower(customer.name)),
        select(customer.id).union_all(select(order.id)).order_by("id"),
    ]
    found = []
    with Session(engine) as session:
        for statement in statements:
            found.append([tuple(row) for row in session.execute(statement)])
        for load in (joinedload, selectinload):
            query = select(customer).options(load(customer.orders_collection)).order_by(customer.id)
            found.append([(row.name, [o.id for o in row.orders_collection]) for row in session.scalars(query).unique()])
        with session.begin_nested():
            found.append(session.get(customer, 1).name)
        session.rollback()
        found.append([row.id for row in session.scalars(select(customer).execution_options(yield_per=1))])
    for level in ("REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"):
        with engine.connect().execution_options(isolation_level=level) as conn:
            found.append(conn.execute(text("select count(*) from shop.orders")).scalar_one())
    # Last: for its pool, SQLAlchemy then undoes this by asking for transactions that write.
    with engine.connect().execution_options(postgresql_readonly=True, postgresql_deferrable=True) as conn:
        found.append(conn.execute(text("show transaction_read_only")).scalar_one())
    engine.dispose()
    return found


def refused(engine):
    """What an application would change is refused by its reason."""
    base = automap_base(metadata=MetaData(schema="shop"))
    base.prepare(autoload_with=engine, schema="shop")
    for change in (
        lambda session: session.add(base.classes.customers(name="Eve")),
        lambda session: session.delete(session.get(base.classes.customers, 1)),
        lambda session: setattr(session.get(base.classes.customers, 1), "name", "Eve"),
        lambda session: session.execute(select(base.classes.customers).with_for_update()),
        lambda session: session.execute(text("create table t (a int)")),
    ):
        with Session(engine) as session:
            try:
                change(session)
                session.commit()
            except DBAPIError as error:
                code = getattr(error.orig, "sqlstate", None) or error.orig.pgcode
                assert code == "42501" and "permission denied by Postern" in str(error), error
            else:
                raise AssertionError("it was not refused")


async def by_asyncpg(of):
    engine = create_async_engine(url(of, "asyncpg"))
    async with engine.connect() as conn:
        found = await conn.run_sync(lambda conn: inspect(conn).get_multi_columns(schema="shop"))
        rows = await conn.stream(text("select id, name from shop.customers where id > :id"), {"id": 0})
        rows = [tuple(row) async for row in rows]
    await engine.dispose()
    return sorted(found.items(), key=str), rows


if __name__ == "__main__":
    seal()
    # It does not know some of PostgreSQL's own types, nor those of the shop.
    warnings.simplefilter("ignore", SAWarning)
    for driver in ("psycopg", "psycopg2"):
        engines = [create_engine(url(of, driver)) for of in (DIRECT, POSTERN)]
        for name, check in (("reflection", reflected), ("ORM queries", queried)):
            with Check(f"{driver}: {name}"):
                direct, postern = (check(engine) for engine in engines)
                equal(postern, direct)
        with Check(f"{driver}: changes are refused"):
            refused(engines[1])
    with Check("asyncpg: reflection and a stream"):
        equal(asyncio.run(by_asyncpg(POSTERN)), asyncio.run(by_asyncpg(DIRECT)))
