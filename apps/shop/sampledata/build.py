"""The sample shop as unsaved rows with their ids set: the same seed and sizes give the same rows anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from django.db.models import Model
from django.utils.text import slugify

from catalogue.models import Category, Product, Review, Supplier
from customers.models import Customer
from orders.models import Order, OrderLine
from sampledata import words
from sampledata.dice import Dice

# Nothing looks at the clock: the shop's history is these four years, whenever it is seeded.
FIRST_DAY = date(2020, 1, 1)
DAYS = 4 * 365 + 1
SECONDS = DAYS * 24 * 3600
AMPLE_STOCK = 100_000_000


@dataclass(frozen=True)
class Sizes:
    products: int = 10_000
    customers: int = 1_000
    orders: int = 2_000


def build(sizes: Sizes, seed: int) -> list[list[Model]]:
    """Make all tables' rows, those that others point at first."""
    products = list(_products(sizes, Dice(seed, "products")))
    orders, lines = _orders(sizes, products, Dice(seed, "orders"))
    return [
        [Category(pk=pk, name=name, slug=slugify(name)) for pk, name in enumerate(words.CATEGORIES, 1)],
        list(_suppliers(Dice(seed, "suppliers"))),
        list(_customers(sizes, Dice(seed, "customers"))),
        [*products],
        list(_reviews(sizes, Dice(seed, "reviews"))),
        orders,
        lines,
    ]


def _suppliers(dice: Dice) -> Iterator[Supplier]:
    names = [f"{name} {kind}" for kind in words.SUPPLIER_KINDS for name in words.SUPPLIER_NAMES]
    for pk, name in enumerate(names, 1):
        country = dice.pick(words.CITIES)[1]
        yield Supplier(pk=pk, name=name, country=country, email=f"sales@{slugify(name)}.example")


def _customers(sizes: Sizes, dice: Dice) -> Iterator[Customer]:
    for pk in range(1, sizes.customers + 1):
        name = f"{dice.pick(words.FIRST_NAMES)} {dice.pick(words.LAST_NAMES)}"
        city, country = dice.pick(words.CITIES)
        email = f"{slugify(name)}.{pk}@mail.example"
        yield Customer(pk=pk, name=name, email=email, city=city, country=country, joined_on=_day(dice))


def _products(sizes: Sizes, dice: Dice) -> Iterator[Product]:
    kinds = list(words.CATEGORIES.values())
    supplier_count = len(words.SUPPLIER_NAMES) * len(words.SUPPLIER_KINDS)
    for pk in range(1, sizes.products + 1):
        category_id = dice.between(1, len(kinds))
        adjective, material = dice.pick(words.ADJECTIVES), dice.pick(words.MATERIALS)
        kind = dice.pick(kinds[category_id - 1])
        yield Product(
            pk=pk,
            sku=f"SKU-{pk:06}",
            name=f"{adjective} {material} {kind}",
            description=f"This {kind.lower()} of {material.lower()} is {adjective.lower()} and made to last.",
            category_id=category_id,
            supplier_id=dice.between(1, supplier_count),
            price=Decimal(dice.between(195, 49_995)).scaleb(-2),
            stock=AMPLE_STOCK,
            added_on=_day(dice),
        )


def _reviews(sizes: Sizes, dice: Dice) -> Iterator[Review]:
    pk = 0
    for product_id in range(1, sizes.products + 1):
        for customer_id in dice.distinct(dice.between(0, 2), sizes.customers):
            pk += 1
            rating = dice.between(1, 5)
            yield Review(
                pk=pk,
                product_id=product_id,
                customer_id=customer_id,
                rating=rating,
                text=dice.pick(words.REVIEWS[rating]),
                written_on=_day(dice),
            )


def _orders(sizes: Sizes, products: list[Product], dice: Dice) -> tuple[list[Model], list[Model]]:
    start = datetime.combine(FIRST_DAY, datetime.min.time(), tzinfo=UTC)
    moments = sorted(dice.between(0, SECONDS - 1) for _ in range(sizes.orders))
    orders: list[Model] = []
    lines: list[Model] = []
    for pk, moment in enumerate(moments, 1):
        order = Order(
            pk=pk,
            customer_id=dice.between(1, sizes.customers),
            status=Order.Status.SHIPPED,
            placed_at=start + timedelta(seconds=moment),
            total=Decimal("0.00"),
        )
        for line in _lines(order, products, dice):
            line.pk = len(lines) + 1
            order.total += line.quantity * line.unit_price
            lines.append(line)
        orders.append(order)
    return orders, lines


def _lines(order: Order, products: list[Product], dice: Dice) -> Iterator[OrderLine]:
    for product_id in dice.distinct(dice.between(1, 5), len(products)):
        yield OrderLine(
            order_id=order.pk,
            product_id=product_id,
            quantity=dice.between(1, 4),
            unit_price=products[product_id - 1].price,
            sold_on=order.placed_at.date(),
        )


def _day(dice: Dice) -> date:
    return FIRST_DAY + timedelta(days=dice.between(0, DAYS - 1))
