from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from io import StringIO

from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F, Model, Sum
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from catalogue.models import Product
from customers.models import Customer
from orders.models import Order, OrderLine
from sampledata.build import Sizes, build
from sampledata.store import MODELS, clear, fill, has_rows

SMALL = Sizes(products=80, customers=20, orders=40)
SMALL_ARGUMENTS = ("--products=80", "--customers=20", "--orders=40")


def checksum(tables: Iterable[Iterable[Model]]) -> str:
    """Digest each column of each row, in the order of the ids."""
    digest = sha256()
    for rows in tables:
        for row in rows:
            values = [str(getattr(row, field.attname)) for field in row._meta.concrete_fields]
            digest.update("\t".join([row._meta.label, *values, "\n"]).encode())
    return digest.hexdigest()


def stored_checksum() -> str:
    return checksum(model.objects.order_by("pk") for model in MODELS)


def seed(*arguments: str) -> str:
    output = StringIO()
    call_command("seed", *arguments, stdout=output, no_color=True)
    return output.getvalue()


class BuildTests(SimpleTestCase):
    def test_the_same_seed_gives_the_same_rows(self) -> None:
        self.assertEqual(checksum(build(SMALL, 1)), checksum(build(SMALL, 1)))

    def test_another_seed_gives_other_rows(self) -> None:
        self.assertNotEqual(checksum(build(SMALL, 1)), checksum(build(SMALL, 2)))

    def test_these_rows_stay_as_they_are_from_version_to_version(self) -> None:
        self.assertEqual(
            checksum(build(SMALL, 20240229)),
            "054cb1b857fb38c38d3040b8229fa3ba18662e9fcb07149e1f495db9a2cec02b",
        )

    def test_more_orders_leave_the_other_tables_alone(self) -> None:
        more = Sizes(products=80, customers=20, orders=60)
        self.assertEqual(checksum(build(SMALL, 1)[:-2]), checksum(build(more, 1)[:-2]))

    def test_the_smallest_shop_can_be_built(self) -> None:
        tables = build(Sizes(products=1, customers=1, orders=1), 1)
        self.assertEqual([len(rows) for rows in tables[2:4]], [1, 1])


class StoreTests(TestCase):
    def test_what_is_stored_is_what_was_built(self) -> None:
        counts = fill(SMALL, 1)
        self.assertEqual((counts["products"], counts["customers"], counts["orders"]), (80, 20, 40))
        self.assertEqual(stored_checksum(), checksum(build(SMALL, 1)))

    def test_orders_add_up_and_lie_in_the_past(self) -> None:
        fill(SMALL, 1)
        line_total = Sum(F("lines__quantity") * F("lines__unit_price"))
        for order in Order.objects.annotate(line_total=line_total):
            self.assertAlmostEqual(order.total, order.line_total, places=2)
        late = Order.objects.filter(placed_at__gte=datetime(2024, 1, 1, tzinfo=UTC))
        self.assertFalse(late.exists())
        self.assertFalse(OrderLine.objects.exclude(unit_price=F("product__price")).exists())

    def test_new_rows_get_ids_after_the_seeded_ones(self) -> None:
        fill(SMALL, 1)
        self.assertGreater(Order.objects.create(customer_id=1, total=0).pk, 40)

    def test_clearing_leaves_no_rows(self) -> None:
        fill(SMALL, 1)
        self.assertTrue(has_rows())
        clear()
        self.assertFalse(has_rows())


class SeedCommandTests(TransactionTestCase):
    """Outside of transactions, as the command itself runs: gathering statistics commits on MySQL."""

    def test_it_fills_an_empty_database_and_leaves_a_full_one_alone(self) -> None:
        self.assertIn("Seeded 16 categories, 40 suppliers, 20 customers, 80 products", seed(*SMALL_ARGUMENTS))
        before = stored_checksum()
        self.assertIn("nothing done", seed("--seed=2"))
        self.assertEqual(stored_checksum(), before)

    def test_fresh_replaces_what_is_there(self) -> None:
        seed(*SMALL_ARGUMENTS)
        before = stored_checksum()
        Product.objects.update(stock=0)
        Order.objects.create(customer_id=1, total=0)
        self.assertIn("Seeded", seed("--fresh", *SMALL_ARGUMENTS))
        self.assertEqual(stored_checksum(), before)

    def test_another_seed_gives_another_shop(self) -> None:
        seed(*SMALL_ARGUMENTS)
        before = stored_checksum()
        seed("--fresh", "--seed=2", *SMALL_ARGUMENTS)
        self.assertNotEqual(stored_checksum(), before)

    def test_ten_thousand_products_by_default(self) -> None:
        seed("--customers=10", "--orders=10")
        self.assertEqual((Product.objects.count(), Customer.objects.count()), (10_000, 10))
        self.assertEqual(Product.objects.get(pk=10_000).sku, "SKU-010000")
        self.assertTrue(connection.get_autocommit())

    def test_a_shop_of_nothing_is_refused(self) -> None:
        for number in ("0", "-5", "many"):
            with self.subTest(number=number), self.assertRaises(CommandError):
                seed(f"--products={number}")
