"""`manage.py watch_orders`: a worker that looks for open orders, rests and looks again, for no request."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections

from orders.models import Order


class Command(BaseCommand):
    help = "Counts the orders that are yet to be shipped, again and again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=2)
        parser.add_argument("--rest", type=float, default=5.0, help="seconds between two rounds")
        parser.add_argument(
            "--close-old-connections",
            action="store_true",
            help="around each round, as Django does around each request",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for number in range(options["rounds"]):
            if number:
                time.sleep(options["rest"])
            if options["close_old_connections"]:
                close_old_connections()
            waiting = Order.objects.filter(status=Order.Status.PLACED).count()
            self.stdout.write(f"{waiting} orders are to be shipped.")
            if options["close_old_connections"]:
                close_old_connections()
