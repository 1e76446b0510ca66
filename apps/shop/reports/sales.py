"""The sales of a year by category, worked out by the database."""

from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Count, DecimalField, F, Sum

from orders.models import OrderLine

MONEY = DecimalField(max_digits=16, decimal_places=2)
CENT = Decimal("0.01")


def sales_by_category(year: int) -> dict[str, Any]:
    """Sum up the lines sold in `year`, the category with the highest revenue first."""
    sold = OrderLine.objects.filter(sold_on__range=(date(year, 1, 1), date(year, 12, 31)))
    # A grouped query must not be the first of a thread: on MySQL and MariaDB Django asks the server's mode
    # while it writes the GROUP BY, and where the thread has no connection yet it opens one for that alone.
    if not sold.exists():
        return {"year": year, "units": 0, "revenue": Decimal("0.00"), "categories": []}
    rows = sold.values(category=F("product__category__name")).annotate(
        orders=Count("order", distinct=True),
        units=Sum("quantity"),
        revenue=Sum(F("quantity") * F("unit_price"), output_field=MONEY),
    )
    # SQLite sums decimals as floats, so the cents are settled here, alike for each database.
    categories = [
        {**row, "revenue": row["revenue"].quantize(CENT)} for row in rows.order_by("-revenue", "category")
    ]
    return {
        "year": year,
        "units": sum(row["units"] for row in categories),
        "revenue": sum((row["revenue"] for row in categories), Decimal("0.00")),
        "categories": categories,
    }
