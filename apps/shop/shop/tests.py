import time
from pathlib import Path
from unittest import mock

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.test import SimpleTestCase, TestCase
from django.urls import reverse

from sampledata.build import Sizes
from sampledata.store import MODELS, fill
from shop.database import database


class DatabaseTests(SimpleTestCase):
    FOLDER = Path("/shop")

    def test_sqlite_where_nothing_is_said(self) -> None:
        self.assertEqual(database({}, self.FOLDER)["NAME"], self.FOLDER / "db.sqlite3")

    def test_a_url_and_names_for_its_parts(self) -> None:
        url = {"DATABASE_URL": "postgres://shop:p%40ss@db.example:6432/sales"}
        found = database({**url, "DB_HOST": "pgbouncer"}, self.FOLDER)
        self.assertEqual(
            found,
            {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "sales",
                "USER": "shop",
                "PASSWORD": "p@ss",
                "HOST": "pgbouncer",
                "PORT": 6432,
            },
        )

    def test_connection_settings(self) -> None:
        for text, expected in (("0", 0), ("60", 60), ("None", None)):
            with self.subTest(text=text):
                found = database({"DB_ENGINE": "mysql", "DB_CONN_MAX_AGE": text}, self.FOLDER)
                self.assertEqual(
                    (found["ENGINE"], found["CONN_MAX_AGE"]), ("django.db.backends.mysql", expected)
                )
        switches = {
            "DB_CONN_HEALTH_CHECKS": "1",
            "DB_ATOMIC_REQUESTS": "yes",
            "DB_DISABLE_SERVER_SIDE_CURSORS": "off",
        }
        found = database({"DB_ENGINE": "postgresql", **switches}, self.FOLDER)
        self.assertEqual(
            (found["CONN_HEALTH_CHECKS"], found["ATOMIC_REQUESTS"], found["DISABLE_SERVER_SIDE_CURSORS"]),
            (True, True, False),
        )

    def test_the_pool(self) -> None:
        sizes = {
            "DB_ENGINE": "postgresql",
            "DB_POOL_MIN_SIZE": "2",
            "DB_POOL_MAX_SIZE": "8",
            "DB_POOL_TIMEOUT": "2.5",
        }
        self.assertNotIn("OPTIONS", database(sizes, self.FOLDER))
        pool = database({**sizes, "DB_POOL_ENABLED": "true"}, self.FOLDER)["OPTIONS"]["pool"]
        self.assertEqual(pool, {"min_size": 2, "max_size": 8, "timeout": 2.5})
        alone = {"DB_ENGINE": "postgresql", "DB_POOL_ENABLED": "1"}
        self.assertIs(database(alone, self.FOLDER)["OPTIONS"]["pool"], True)

    def test_what_is_wrong_is_named(self) -> None:
        for wrong in (
            {"DB_CONN_MAX_AGE": "soon"},
            {"DB_CONN_HEALTH_CHECKS": "perhaps"},
            {"DB_ENGINE": "oracle"},
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex(ImproperlyConfigured, next(iter(wrong))):
                database({"DB_ENGINE": "postgresql", **wrong}, self.FOLDER)


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
