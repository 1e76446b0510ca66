"""Reading alone: lists and product pages. Also: `locust -f locustfiles/read.py`."""

import shop
from locust import task

from runner.load.user import BenchmarkUser


class Reader(BenchmarkUser):
    @task
    def browse(self) -> None:
        shop.list_products(self.client)

    @task
    def look(self) -> None:
        shop.view_product(self.client)
