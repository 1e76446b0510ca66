"""Rates kept in the process, as `functools.lru_cache` makes it tempting.

A change clears the cache of the process that makes it. Other processes never hear of it and go on
answering with what they have; and a thread that read a moment before the change may put the old rate
back right after it.
"""

from functools import lru_cache

from django.db import transaction
from django.db.models import F

from rates.models import Rate


@lru_cache(maxsize=128)
def known_version(currency: str) -> int:
    """Raises Rate.DoesNotExist, which is not kept."""
    return Rate.objects.values_list("version", flat=True).get(currency=currency)


def change_rate(currency: str) -> int:
    """The new version. Raises Rate.DoesNotExist."""
    with transaction.atomic():
        Rate.objects.filter(currency=currency).update(version=F("version") + 1)
        version = Rate.objects.values_list("version", flat=True).get(currency=currency)
    known_version.cache_clear()
    return version
