"""`manage.py seed`: the sample shop, the same rows on every database."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand

from sampledata.build import Sizes
from sampledata.store import clear, fill, gather_statistics, has_rows


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


class Command(BaseCommand):
    help = "Fills an empty database with the sample shop; does nothing where there are rows already."

    def add_arguments(self, parser: ArgumentParser) -> None:
        sizes = Sizes()
        parser.add_argument("--products", type=at_least_one, default=sizes.products)
        parser.add_argument("--customers", type=at_least_one, default=sizes.customers)
        parser.add_argument("--orders", type=at_least_one, default=sizes.orders)
        parser.add_argument("--seed", type=int, default=20240229, help="another seed gives another shop")
        parser.add_argument("--fresh", action="store_true", help="delete the shop's rows first")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["fresh"]:
            clear()
        elif has_rows():
            self.stdout.write("The shop has rows already: nothing done. Use --fresh to delete them first.")
            return
        sizes = Sizes(options["products"], options["customers"], options["orders"])
        counts = fill(sizes, options["seed"])
        gather_statistics()
        summary = ", ".join(f"{count} {name}" for name, count in counts.items())
        self.stdout.write(self.style.SUCCESS(f"Seeded {summary}."))
