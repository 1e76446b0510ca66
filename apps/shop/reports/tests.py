from collections import defaultdict
from datetime import date
from decimal import Decimal

from django.conf import settings
from django.test import TestCase, override_settings

from orders.models import OrderLine
from sampledata.build import Sizes
from sampledata.store import fill


class SalesReportTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        fill(Sizes(products=60, customers=10, orders=120), seed=9)

    def test_it_adds_up_to_what_python_counts(self) -> None:
        with self.assertNumQueries(2):
            data = self.client.get("/reports/sales/").json()
        units: dict[str, int] = defaultdict(int)
        revenue: dict[str, Decimal] = defaultdict(Decimal)
        orders: dict[str, set[int]] = defaultdict(set)
        sold = OrderLine.objects.filter(sold_on__year=settings.SALES_REPORT_YEAR)
        for line in sold.select_related("product__category"):
            name = line.product.category.name
            units[name] += line.quantity
            revenue[name] += line.quantity * line.unit_price
            orders[name].add(line.order_id)
        self.assertGreater(len(units), 5)
        expected = [
            {
                "category": name,
                "orders": len(orders[name]),
                "units": units[name],
                "revenue": str(revenue[name]),
            }
            for name in sorted(units, key=lambda name: (-revenue[name], name))
        ]
        self.assertEqual(data["categories"], expected)
        self.assertEqual(
            (data["year"], data["units"], data["revenue"]),
            (settings.SALES_REPORT_YEAR, sum(units.values()), str(sum(revenue.values()))),
        )

    def test_both_ends_of_the_year_belong_to_it(self) -> None:
        OrderLine.objects.update(sold_on=date(2021, 6, 1))
        for pk, day in enumerate(["2021-12-31", "2022-01-01", "2022-12-31", "2023-01-01"], 1):
            OrderLine.objects.filter(pk=pk).update(sold_on=day, quantity=10**pk)
        self.assertEqual(self.client.get("/reports/sales/?year=2022").json()["units"], 1100)

    @override_settings(SALES_REPORT_YEAR=2020)
    def test_the_year_is_the_last_closed_one_unless_another_is_asked_for(self) -> None:
        self.assertEqual(self.client.get("/reports/sales/").json()["year"], 2020)
        self.assertEqual(self.client.get("/reports/sales/?year=2021").json()["year"], 2021)

    def test_a_year_without_sales_is_empty(self) -> None:
        empty = {"year": 1999, "units": 0, "revenue": "0.00", "categories": []}
        self.assertEqual(self.client.get("/reports/sales/?year=1999").json(), empty)

    def test_what_is_no_year_is_refused(self) -> None:
        for year in ("", "0", "10000", "last", "2023.5"):
            with self.subTest(year=year), self.assertNumQueries(0):
                response = self.client.get("/reports/sales/", {"year": year})
                self.assertEqual(response.status_code, 400)
                self.assertTrue(response.json()["error"].startswith("year: "))
