"""Readers of what a process keeps in its own cache, and a writer now and then: how many answers are stale?

A reader asks for nothing older than the last change that was acknowledged before it asked, so that each stale answer is
an `HTTP 412` among the failed requests. Hardly a read asks the database: look at this with connections that are kept,
where no prediction counts requests. Also: `locust -f locustfiles/cache.py`.
"""

import shop
from locust import task

from runner.load.user import BenchmarkUser


class Trader(BenchmarkUser):
    #: The newest version that any user knows to be written.
    written = 0

    @task(9)
    def read(self) -> None:
        shop.read_rate(self.client, Trader.written)

    @task(1)
    def change(self) -> None:
        Trader.written = max(Trader.written, shop.change_rate(self.client) or 0)
