"""What every traffic profile of the shop is made of: one function a request, names without ids."""

import random

from runner.load.user import RecordedClient

# As seeded by apps/shop: ids count from 1.
PRODUCTS = 10_000
CUSTOMERS = 1_000
PRODUCT_PAGES = 500


def list_products(client: RecordedClient) -> None:
    client.get(f"/products/?page={random.randint(1, PRODUCT_PAGES)}", name="/products/")


def view_product(client: RecordedClient) -> None:
    client.get(f"/products/{random.randint(1, PRODUCTS)}/", name="/products/[id]/")


def place_order(client: RecordedClient) -> None:
    lines = [{"product": random.randint(1, PRODUCTS), "quantity": random.randint(1, 3)} for _ in range(2)]
    client.post("/orders/", json={"customer": random.randint(1, CUSTOMERS), "lines": lines})


def sales_report(client: RecordedClient) -> None:
    client.get("/reports/sales/")


def hold_connection(client: RecordedClient, milliseconds: int) -> None:
    client.get(f"/hold/?ms={milliseconds}", name="/hold/")
