"""A shop's day: mostly reading, some orders, now and then a report. Also: `locust -f locustfiles/mixed.py`."""

import shop
from locust import task

from runner.load.user import BenchmarkUser


class Visitor(BenchmarkUser):
    @task(10)
    def browse(self) -> None:
        shop.list_products(self.client)

    @task(10)
    def look(self) -> None:
        shop.view_product(self.client)

    @task(4)
    def buy(self) -> None:
        shop.place_order(self.client)

    @task(1)
    def report(self) -> None:
        shop.sales_report(self.client)
