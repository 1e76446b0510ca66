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


def export_products(client: RecordedClient, rows: int) -> None:
    client.get(f"/products/export/?rows={rows}", name="/products/export/")


def read_rate(client: RecordedClient, version: int) -> None:
    client.get(f"/rates/EUR/?version={version}")


def change_rate(client: RecordedClient) -> int | None:
    """The new version; None if the change failed."""
    answer = client.post("/rates/EUR/")
    return int(answer.json()["version"]) if answer.status == 200 else None


def hold_connection(client: RecordedClient, milliseconds: int) -> None:
    client.get(f"/hold/?ms={milliseconds}", name="/hold/")
