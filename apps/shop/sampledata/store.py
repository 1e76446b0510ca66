"""Bringing sample data into the database, and out of it."""

from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Model

from catalogue.models import Category, Product, Review, Supplier
from customers.models import Customer
from orders.models import Order, OrderLine
from sampledata.build import Sizes, build

# Those that others point at come first.
MODELS: tuple[type[Model], ...] = (Category, Supplier, Customer, Product, Review, Order, OrderLine)
BATCH = 1000


def has_rows() -> bool:
    return any(model.objects.exists() for model in MODELS)


@transaction.atomic
def clear() -> None:
    """Delete every row of the shop's tables; users and sessions stay."""
    for model in reversed(MODELS):
        model.objects.all().delete()


@transaction.atomic
def fill(sizes: Sizes, seed: int) -> dict[str, int]:
    """Write the sample shop into empty tables and count its rows by table."""
    tables = dict(zip(MODELS, build(sizes, seed), strict=True))
    for model, rows in tables.items():
        model.objects.bulk_create(rows, batch_size=BATCH)
    _move_sequences()
    return {str(model._meta.verbose_name_plural): len(rows) for model, rows in tables.items()}


def _move_sequences() -> None:
    """Let the next id come after those that were written: PostgreSQL only counts ids that it gave itself."""
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), list(MODELS)):
            cursor.execute(statement)


def gather_statistics() -> None:
    """Tell the query planner what the tables hold now, instead of whenever the database comes round to it.

    MySQL commits when it is told to, so this belongs outside of transactions.
    """
    tables = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in MODELS)
    statement = {"postgresql": f"VACUUM ANALYZE {tables}", "mysql": f"ANALYZE TABLE {tables}"}
    with connection.cursor() as cursor:
        cursor.execute(statement.get(connection.vendor, "ANALYZE"))
