"""Exports of a thousand products, streamed from a cursor in the database. Also: `locust -f locustfiles/stream.py`."""

import shop
from locust import task

from runner.load.user import BenchmarkUser


class Exporter(BenchmarkUser):
    @task
    def export(self) -> None:
        shop.export_products(self.client, rows=1000)
