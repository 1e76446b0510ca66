"""Connections kept busy inside the database for 100 ms each: shows how many a stack can hold at once.

Also: `locust -f locustfiles/hold.py`.
"""

import shop
from locust import task

from runner.load.user import BenchmarkUser


class Holder(BenchmarkUser):
    @task
    def hold(self) -> None:
        shop.hold_connection(self.client, milliseconds=100)
