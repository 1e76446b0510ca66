"""Reading the JSON of an order: everything that can be judged without the database is judged here."""

import json
from dataclasses import dataclass
from typing import Any

LINES_LIMIT = 50
QUANTITY_LIMIT = 1000
ID_LIMIT = 2**63 - 1


class BadOrder(ValueError):
    """What the client sent cannot become an order; the message says why."""


@dataclass(frozen=True)
class OrderRequest:
    customer_id: int
    quantities: dict[int, int]
    """Units by product id. A product that comes in several lines is one entry: it is locked and sold once."""


def parse_order(body: bytes) -> OrderRequest:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as invalid:
        raise BadOrder("The body is not valid JSON.") from invalid
    if not isinstance(data, dict):
        raise BadOrder("The body is not a JSON object.")
    return OrderRequest(_integer(data, "customer", ID_LIMIT), _quantities(data.get("lines")))


def _quantities(lines: Any) -> dict[int, int]:
    if not isinstance(lines, list) or not 1 <= len(lines) <= LINES_LIMIT:
        raise BadOrder(f"lines: expected a list of 1 to {LINES_LIMIT} lines.")
    quantities: dict[int, int] = {}
    for line in lines:
        if not isinstance(line, dict):
            raise BadOrder("lines: each line is an object with product and quantity.")
        product_id = _integer(line, "product", ID_LIMIT)
        quantities[product_id] = quantities.get(product_id, 0) + _integer(line, "quantity", QUANTITY_LIMIT)
    return quantities


def _integer(data: dict[str, Any], name: str, limit: int) -> int:
    """Read a whole number from 1 to `limit`. A JSON `true` is a Python int too, and is refused."""
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= limit:
        raise BadOrder(f"{name}: expected a whole number from 1 to {limit}.")
    return value
