import time
from unittest import mock

from django.contrib import admin
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import SimpleTestCase, TestCase
from django.urls import reverse

from sampledata.build import Sizes
from sampledata.store import MODELS, fill


class HealthTests(TestCase):
    def test_it_touches_no_database(self) -> None:
        with self.assertNumQueries(0):
            response = self.client.get("/health/")
        self.assertEqual((response.status_code, response.content), (200, b"ok"))


class HealthWithoutDatabaseTests(SimpleTestCase):
    def test_it_answers_while_the_database_is_down(self) -> None:
        with mock.patch.object(connection, "ensure_connection", side_effect=OperationalError):
            self.assertEqual(self.client.get("/health/").status_code, 200)


class HoldTests(TestCase):
    def test_it_waits_in_one_query(self) -> None:
        start = time.monotonic()
        with self.assertNumQueries(1):
            response = self.client.get("/hold/", {"ms": "60"})
        self.assertEqual((response.status_code, response.json()), (200, {"held_ms": 60}))
        self.assertGreaterEqual(time.monotonic() - start, 0.06)

    def test_no_time_at_all_is_a_time(self) -> None:
        self.assertEqual(self.client.get("/hold/?ms=0").json(), {"held_ms": 0})

    def test_other_times_are_refused_before_the_database_is_asked(self) -> None:
        for query in ("", "?ms=", "?ms=-1", "?ms=60001", "?ms=1.5", "?ms=soon", "?ms=%00"):
            with self.subTest(query=query), self.assertNumQueries(0):
                response = self.client.get(f"/hold/{query}")
                self.assertEqual(response.status_code, 400)
                self.assertTrue(response.json()["error"].startswith("ms: "))


class AdminTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        fill(Sizes(products=20, customers=5, orders=5), seed=1)
        cls.superuser = User.objects.create_superuser("keeper")

    def test_each_table_has_its_pages(self) -> None:
        self.client.force_login(self.superuser)
        shown = [model for model in MODELS if admin.site.is_registered(model)]
        self.assertEqual(len(shown), len(MODELS) - 1, "an order's lines are shown with the order alone")
        for model in shown:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            for url in (reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[1])):
                with self.subTest(url=url):
                    self.assertEqual(self.client.get(url).status_code, 200)
