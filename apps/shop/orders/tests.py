import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import chain
from random import Random
from typing import Any
from unittest import mock

from django.db import DatabaseError, connections
from django.http import HttpResponse
from django.test import Client, TestCase, TransactionTestCase, skipUnlessDBFeature
from django.utils import timezone

from catalogue.models import Product
from orders.models import Order, OrderLine
from orders.payload import ID_LIMIT, LINES_LIMIT, QUANTITY_LIMIT
from sampledata.build import Sizes
from sampledata.store import fill

# A test runs inside a transaction, where atomic() makes a savepoint and releases it.
SAVEPOINT_QUERIES = 2


def post_order(client: Client, data: Any) -> HttpResponse:
    return client.post("/orders/", data, content_type="application/json")


def line(product: Any, quantity: Any = 1) -> dict[str, Any]:
    return {"product": product, "quantity": quantity}


class OrderTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        fill(Sizes(products=10, customers=5, orders=4), seed=5)
        Product.objects.update(stock=10)
        Product.objects.filter(pk=1).update(price=Decimal("12.34"))
        Product.objects.filter(pk=2).update(price=Decimal("0.99"))


class PlacingTests(OrderTestCase):
    def test_an_order_takes_one_query_a_line_and_four(self) -> None:
        for count in (1, 8):
            lines = [line(pk) for pk in range(count, 0, -1)]
            with self.subTest(count=count), self.assertNumQueries(4 + count + SAVEPOINT_QUERIES):
                self.assertEqual(post_order(self.client, {"customer": 1, "lines": lines}).status_code, 201)

    def test_it_is_written_and_taken_from_stock(self) -> None:
        response = post_order(self.client, {"customer": 3, "lines": [line(2, 3), line(1, 2)]})
        self.assertEqual(response.status_code, 201)
        order = Order.objects.latest("pk")
        self.assertGreater(order.pk, 4)
        self.assertEqual(response.json(), {"id": order.pk, "total": "27.65"})
        self.assertEqual((order.customer_id, order.status, order.total), (3, "placed", Decimal("27.65")))
        self.assertLess(abs((timezone.now() - order.placed_at).total_seconds()), 60)
        self.assertEqual(
            list(order.lines.order_by("product").values_list("product", "quantity", "unit_price", "sold_on")),
            [
                (1, 2, Decimal("12.34"), order.placed_at.date()),
                (2, 3, Decimal("0.99"), order.placed_at.date()),
            ],
        )
        self.assertEqual(list(Product.objects.order_by("pk").values_list("stock", flat=True))[:3], [8, 7, 10])
        self.assertEqual(str(order), f"Order {order.pk}")
        self.assertEqual(str(order.lines.get(product=1)), "2 x 1")

    def test_lines_of_the_same_product_become_one(self) -> None:
        response = post_order(self.client, {"customer": 1, "lines": [line(1), line(2), line(1, 3)]})
        order = Order.objects.get(pk=response.json()["id"])
        self.assertEqual(
            list(order.lines.order_by("product").values_list("product", "quantity")), [(1, 4), (2, 1)]
        )
        self.assertEqual(Product.objects.get(pk=1).stock, 6)

    def test_the_last_unit_can_be_bought(self) -> None:
        self.assertEqual(post_order(self.client, {"customer": 1, "lines": [line(1, 10)]}).status_code, 201)
        self.assertEqual(Product.objects.get(pk=1).stock, 0)

    def test_the_largest_order_fits_the_columns(self) -> None:
        Product.objects.update(stock=2**31 - 1, price=Decimal("999999.99"))
        lines = [line(1, QUANTITY_LIMIT)] * LINES_LIMIT
        response = post_order(self.client, {"customer": 1, "lines": lines})
        self.assertEqual(response.json()["total"], "49999999500.00")

    def test_it_works_without_a_csrf_token(self) -> None:
        client = Client(enforce_csrf_checks=True)
        self.assertEqual(post_order(client, {"customer": 1, "lines": [line(1)]}).status_code, 201)


class RefusalTests(OrderTestCase):
    def assert_nothing_changed(self) -> None:
        self.assertEqual(Order.objects.count(), 4)
        self.assertEqual(set(Product.objects.values_list("stock", flat=True)), {10})

    def test_bad_input_never_reaches_the_database(self) -> None:
        good = [line(1)]
        bodies: list[Any] = [
            *("", "{", "[]", "null", '"order"', b"\xff", "[" * 100_000, '{"customer": NaN}'),
            *({}, {"customer": 1}, {"lines": good}, {"customer": 1, "lines": []}),
            *({"customer": value, "lines": good} for value in (None, "1", 0, -1, 1.5, True, ID_LIMIT + 1)),
            *({"customer": 1, "lines": value} for value in (None, {}, "1", [1], good * (LINES_LIMIT + 1))),
            *({"customer": 1, "lines": [line(value)]} for value in (None, "1", 0, False, ID_LIMIT + 1)),
            *({"customer": 1, "lines": [line(1, value)]} for value in (None, 0, -1, 0.5, QUANTITY_LIMIT + 1)),
        ]
        for body in bodies:
            with self.subTest(body=str(body)[:80]), self.assertNumQueries(0):
                response = post_order(self.client, body)
                self.assertEqual(response.status_code, 400)
                self.assertIsInstance(response.json()["error"], str)
        self.assert_nothing_changed()

    def test_an_unknown_customer_or_product_is_named(self) -> None:
        for data, message in (
            ({"customer": 6, "lines": [line(1)]}, "There is no customer 6."),
            ({"customer": 1, "lines": [line(1), line(12), line(11)]}, "There is no product 11."),
            ({"customer": 1, "lines": [line(ID_LIMIT)]}, f"There is no product {ID_LIMIT}."),
        ):
            with self.subTest(data=data):
                response = post_order(self.client, data)
                self.assertEqual((response.status_code, response.json()), (400, {"error": message}))
        self.assert_nothing_changed()

    def test_too_little_stock_of_one_product_refuses_the_whole_order(self) -> None:
        response = post_order(self.client, {"customer": 1, "lines": [line(1, 2), line(2, 6), line(2, 5)]})
        self.assertEqual(response.status_code, 409)
        self.assertEqual(response.json(), {"error": "SKU-000002: 11 wanted, 10 in stock."})
        self.assert_nothing_changed()

    def test_a_failure_halfway_leaves_nothing_behind(self) -> None:
        failing = mock.patch.object(OrderLine.objects, "bulk_create", side_effect=DatabaseError("gone"))
        client = Client(raise_request_exception=False)
        with failing, self.assertLogs("django.request", "ERROR"):
            response = post_order(client, {"customer": 1, "lines": [line(1)]})
        self.assertEqual(response.status_code, 500)
        self.assert_nothing_changed()

    def test_orders_are_not_listed(self) -> None:
        self.assertEqual(self.client.get("/orders/").status_code, 405)


class ConcurrencyTests(TransactionTestCase):
    """Orders for the same few products, in any order, from threads that each have a connection."""

    THREADS = 8
    ORDERS_EACH = 15

    def setUp(self) -> None:
        fill(Sizes(products=6, customers=2, orders=1), seed=5)

    def send_orders(self, thread: int) -> list[tuple[int, dict[str, int]]]:
        random, client, sent = Random(thread), Client(), []
        try:
            for _ in range(self.ORDERS_EACH):
                lines = [line(random.randint(1, 6), random.randint(1, 3)) for _ in range(5)]
                response = post_order(client, {"customer": random.randint(1, 2), "lines": lines})
                sent.append((response.status_code, json.loads(response.content)))
        finally:
            connections.close_all()
        return sent

    @skipUnlessDBFeature("has_select_for_update")
    def test_all_succeed_and_no_unit_is_sold_twice(self) -> None:
        before = dict(Product.objects.values_list("pk", "stock"))
        seeded = set(OrderLine.objects.values_list("pk", flat=True))
        with ThreadPoolExecutor(self.THREADS) as pool:
            sent = list(chain.from_iterable(pool.map(self.send_orders, range(self.THREADS))))
        self.assertEqual({status for status, _ in sent}, {201})
        self.assertEqual(len({answer["id"] for _, answer in sent}), self.THREADS * self.ORDERS_EACH)
        for sold in OrderLine.objects.exclude(pk__in=seeded):
            before[sold.product_id] -= sold.quantity
        self.assertEqual(dict(Product.objects.values_list("pk", "stock")), before)
