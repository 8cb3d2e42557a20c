"""Django for a reader: inspectdb, and ORM queries. The same as without Postern."""

import io
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections, models, transaction
from django.db.models import Avg, Count, Exists, F, OuterRef, Prefetch, Q, Subquery, Sum, Window
from django.db.models.functions import Lower, RowNumber, TruncDay

from checks import DIRECT, POSTERN, Check, equal, seal


def database(of):
    url = urlsplit(of)
    return {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username,
            "PASSWORD": url.password, "HOST": url.hostname, "PORT": url.port}


settings.configure(DATABASES={"default": {}, "direct": database(DIRECT), "postern": database(POSTERN)},
                   INSTALLED_APPS=["django.contrib.postgres", "django_shop"], USE_TZ=True)
django.setup()

from django_shop.models import Customer, Order  # noqa: E402, models need the settings


def inspected(using):
    """The models that it writes from the tables and views, and the tables' descriptions beneath."""
    introspection = connections[using].introspection
    with connections[using].cursor() as cursor:
        # Django reads a row of each. Reading these two runs what a reader may not: a sequence, an unknown function.
        tables = [table for table in introspection.get_table_list(cursor) if table.name not in ("ticking", "guarded")]
        out = io.StringIO()
        call_command("inspectdb", *(table.name for table in tables), database=using, stdout=out)
        found = [out.getvalue()]
        for table in tables:
            found.append([table, introspection.get_table_description(cursor, table.name),
                          introspection.get_relations(cursor, table.name),
                          introspection.get_sequences(cursor, table.name),
                          sorted(introspection.get_constraints(cursor, table.name).items())])
    assert "class Customers(models.Model)" in found[0], found[0]
    return found


def queried(using):
    customers, orders = Customer.objects.using(using), Order.objects.using(using)
    newest = orders.filter(customer=OuterRef("pk")).order_by("-placed")
    found = [
        customers.filter(Q(name__icontains="a") | Q(email__endswith=".org"), born__isnull=True).order_by("name")[:5],
        customers.annotate(spent=Sum("orders__total"), orders_count=Count("orders")).filter(spent__gt=1).values(),
        customers.annotate(last=Subquery(newest.values("status")[:1])).values_list("name", "last"),
        customers.filter(Exists(newest)).exclude(orders__status="gone").distinct().values_list(Lower("name")),
        customers.filter(extra__a=1, name__regex="^A").values("extra__b"),
        orders.select_related("customer").order_by("id").values("id", "customer__name"),
        orders.annotate(day=TruncDay("placed")).values("day").annotate(average=Avg("total"), n=Count("id")).order_by("day"),
        orders.annotate(at=Window(RowNumber(), partition_by=F("customer"), order_by=F("placed").desc())).values("id", "at"),
        orders.values_list("id").union(customers.values_list("id")).order_by("id"),
        customers.raw('select * from shop.customers where name = %s', ["Ann"]),
    ]
    found = [[getattr(row, "name", row) if isinstance(row, models.Model) else row for row in rows] for rows in found]
    several = customers.prefetch_related(Prefetch("orders", orders.order_by("id"))).order_by("id")
    found.append([(row.name, [order.id for order in row.orders.all()]) for row in several])
    found.append([orders.aggregate(Sum("total"), Avg("total"), Count("id")), customers.in_bulk([1]).keys(), orders.exists()])
    found.append(customers.filter(name="Ann").explain())
    with transaction.atomic(using=using):
        # A cursor of the server's.
        found.append([row.id for row in orders.iterator(chunk_size=1)])
        with transaction.atomic(using=using):
            found.append(customers.get(pk=1).name)
    found.append([row.id for row in orders.iterator(chunk_size=1)])
    return found


def refused(using):
    """What an application would change is refused by its reason."""
    def create(): Customer.objects.using(using).create(name="Eve")
    def update(): Customer.objects.using(using).update(name="Eve")
    def delete(): Order.objects.using(using).all()._raw_delete(using)
    def lock():
        with transaction.atomic(using=using):
            list(Customer.objects.using(using).select_for_update())
    for change in (create, update, delete, lock):
        try:
            change()
        except DatabaseError as error:
            assert error.__cause__.sqlstate == "42501" and "permission denied by Postern" in str(error), error
        else:
            raise AssertionError(f"{change} was not refused")


if __name__ == "__main__":
    seal()
    for name, check in (("inspectdb", inspected), ("ORM queries", queried)):
        with Check(name):
            equal(check("postern"), check("direct"))
    with Check("changes are refused"):
        refused("postern")
