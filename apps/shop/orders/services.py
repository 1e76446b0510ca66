"""Placing an order: one transaction that cannot deadlock with another one of its kind."""

from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from catalogue.models import Product
from customers.models import Customer
from orders.models import Order, OrderLine
from orders.payload import BadOrder, OrderRequest


class OutOfStock(Exception):
    """The shop has fewer units than the order asks for."""


@transaction.atomic
def place_order(request: OrderRequest) -> Order:
    """Take the products out of stock and write the order with its lines, or change nothing at all.

    Every order takes its row locks on products in ascending order of their ids, once each and before it
    writes anything, so no two orders can wait for each other. The foreign keys of the rows that follow need
    share locks on these same products, which this transaction already holds more strongly, and on the
    customer, which no order locks exclusively.
    """
    products = _lock_products(request)
    if not Customer.objects.filter(pk=request.customer_id).exists():
        raise BadOrder(f"There is no customer {request.customer_id}.")
    _take_from_stock(products, request)
    now = timezone.now()
    order = Order.objects.create(
        customer_id=request.customer_id, total=_total(products, request), placed_at=now
    )
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            product=product,
            quantity=request.quantities[product.pk],
            unit_price=product.price,
            sold_on=now.date(),
        )
        for product in products
    )
    return order


def _lock_products(request: OrderRequest) -> list[Product]:
    rows = Product.objects.select_for_update().only("sku", "price", "stock")
    products = list(rows.filter(pk__in=request.quantities).order_by("pk"))
    if missing := request.quantities.keys() - {product.pk for product in products}:
        raise BadOrder(f"There is no product {min(missing)}.")
    return products


def _take_from_stock(products: list[Product], request: OrderRequest) -> None:
    """Decrement what was read under the lock; nobody else can have changed it since."""
    for product in products:
        wanted = request.quantities[product.pk]
        if product.stock < wanted:
            raise OutOfStock(f"{product.sku}: {wanted} wanted, {product.stock} in stock.")
        product.stock -= wanted
        # One row by its key each: an UPDATE of several may scan a small table on MySQL and MariaDB, and then
        # it waits for rows of other orders out of turn.
        product.save(update_fields=["stock"])


def _total(products: list[Product], request: OrderRequest) -> Decimal:
    return sum((product.price * request.quantities[product.pk] for product in products), Decimal("0.00"))
