from django.test import TestCase

from rates.cache import known_version
from rates.models import Rate


class RateTests(TestCase):
    def setUp(self) -> None:
        known_version.cache_clear()
        self.addCleanup(known_version.cache_clear)

    def test_only_the_first_reader_asks_the_database(self) -> None:
        with self.assertNumQueries(1):
            first = self.client.get("/rates/EUR/")
            second = self.client.get("/rates/EUR/")
        self.assertEqual(first.json(), {"currency": "EUR", "version": 0})
        self.assertEqual(second.json(), first.json())

    def test_a_change_is_known_at_once_in_its_own_process(self) -> None:
        self.client.get("/rates/EUR/")
        self.assertEqual(self.client.post("/rates/EUR/").json(), {"currency": "EUR", "version": 1})
        self.assertEqual(self.client.get("/rates/EUR/?version=1").json()["version"], 1)

    def test_a_change_elsewhere_is_not_heard_of(self) -> None:
        self.client.get("/rates/EUR/")
        Rate.objects.filter(currency="EUR").update(version=5)
        self.assertEqual(self.client.get("/rates/EUR/").json()["version"], 0)
        stale = self.client.get("/rates/EUR/?version=5")
        self.assertEqual(stale.status_code, 412)
        self.assertEqual(stale.json(), {"error": "This process knows version 0, which is older than 5."})

    def test_refusals(self) -> None:
        for path, status in (("/rates/XXX/", 404), ("/rates/EUR/?version=new", 400), ("/rates/eur/", 404)):
            with self.subTest(path=path):
                self.assertEqual(self.client.get(path).status_code, status)
        self.assertEqual(self.client.post("/rates/XXX/").status_code, 404)
