"""Writing alone: orders, each in a transaction with row locks. Also: `locust -f locustfiles/write.py`."""

import shop
from locust import task

from runner.load.user import BenchmarkUser


class Buyer(BenchmarkUser):
    @task
    def buy(self) -> None:
        shop.place_order(self.client)
