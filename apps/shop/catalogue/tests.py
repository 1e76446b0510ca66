import json
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.test import TestCase
from django.utils.html import escape

from catalogue.models import Category, Product, Review
from sampledata.build import Sizes
from sampledata.store import fill


class CatalogueTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        fill(Sizes(products=65, customers=10, orders=1), seed=3)


class ProductExportTests(CatalogueTestCase):
    def lines(self, query: str = "") -> list[dict[str, str]]:
        response = self.client.get(f"/products/export/{query}")
        self.assertEqual((response.status_code, response["Content-Type"]), (200, "application/x-ndjson"))
        return [json.loads(line) for line in response.getvalue().splitlines()]

    def test_every_product_has_a_line(self) -> None:
        rows = self.lines()
        product = Product.objects.get(pk=1)
        self.assertEqual(rows[0], {"id": 1, "name": product.name, "price": f"{product.price:.2f}"})
        self.assertEqual([row["id"] for row in rows], list(range(1, 66)))

    def test_no_more_rows_than_asked_for(self) -> None:
        self.assertEqual(len(self.lines("?rows=3")), 3)
        self.assertEqual(self.client.get("/products/export/?rows=all").status_code, 400)

    def test_rows_are_read_while_they_are_sent(self) -> None:
        with self.assertNumQueries(0):
            response = self.client.get("/products/export/")
        with self.assertNumQueries(1):
            response.getvalue()


class ProductListTests(CatalogueTestCase):
    def test_a_page_takes_three_queries(self) -> None:
        with self.assertNumQueries(3):
            data = self.client.get("/products/").json()
        self.assertEqual((data["count"], data["page"], data["pages"]), (65, 1, 4))
        self.assertEqual([row["id"] for row in data["results"]], list(range(1, 21)))
        product = Product.objects.get(pk=1)
        self.assertEqual(
            data["results"][0],
            {
                "id": 1,
                "name": product.name,
                "sku": "SKU-000001",
                "price": f"{product.price:.2f}",
                "category": product.category.name,
                "supplier": product.supplier.name,
            },
        )

    def test_the_last_page_is_short(self) -> None:
        data = self.client.get("/products/?page=4").json()
        self.assertEqual([row["id"] for row in data["results"]], [61, 62, 63, 64, 65])

    def test_a_page_that_is_not_there_is_named(self) -> None:
        for page in ("0", "-1", "5", "two", "1.5", "9" * 30, ""):
            with self.subTest(page=page):
                response = self.client.get("/products/", {"page": page})
                self.assertEqual(response.status_code, 404)
                message = f"There is no page {page!r}: pages go from 1 to 4."
                self.assertEqual(response.json(), {"error": message})

    def test_a_category_takes_one_query_more(self) -> None:
        category = Product.objects.get(pk=1).category
        with self.assertNumQueries(4):
            data = self.client.get("/products/", {"category": category.slug}).json()
        self.assertEqual(data["count"], category.products.count())
        self.assertEqual({row["category"] for row in data["results"]}, {category.name})

    def test_an_empty_category_has_one_empty_page(self) -> None:
        Category.objects.create(name="Attic", slug="attic")
        data = self.client.get("/products/?category=attic").json()
        self.assertEqual((data["count"], data["pages"], data["results"]), (0, 1, []))

    def test_an_unknown_category_is_not_found(self) -> None:
        for slug in ("nowhere", "a b", "\0"):
            with self.subTest(slug=slug):
                response = self.client.get("/products/", {"category": slug})
                self.assertEqual(response.status_code, 404)
                self.assertEqual(response.json(), {"error": f"There is no category {slug!r}."})

    def test_it_is_only_for_reading(self) -> None:
        self.assertEqual(self.client.post("/products/").status_code, 405)


class ProductPageTests(CatalogueTestCase):
    def test_a_page_takes_three_queries(self) -> None:
        product = Review.objects.latest("pk").product
        with self.assertNumQueries(3):
            response = self.client.get(product.get_absolute_url())
        self.assertContains(response, f"<h1>{escape(product.name)}</h1>", html=True)
        for text in (product.sku, product.price, product.category.name, product.supplier.name):
            self.assertContains(response, text)
        for review in product.reviews.all():
            self.assertContains(response, review.text)
            self.assertContains(response, review.customer.name)

    def test_related_products_are_of_the_same_category(self) -> None:
        first = Category.objects.get(pk=1).products.earliest("pk")
        related = self.client.get(first.get_absolute_url()).context["related"]
        self.assertTrue(related)
        for product in related:
            self.assertEqual((product.category_id, product.pk > first.pk), (1, True))

    def test_a_product_without_neighbours_and_reviews_has_a_page(self) -> None:
        product = Product.objects.create(
            sku="LAST",
            name="<Last> & least",
            category_id=1,
            supplier_id=1,
            price=Decimal("0.00"),
            added_on="2023-12-31",
        )
        response = self.client.get(product.get_absolute_url())
        self.assertContains(response, "<h1>&lt;Last&gt; &amp; least</h1>")
        self.assertContains(response, "Sold out")
        self.assertContains(response, "Nobody has reviewed this product yet.")
        self.assertNotContains(response, "More from")

    def test_an_unknown_product_is_not_found(self) -> None:
        for pk in ("0", "66", "9" * 30, "first"):
            with self.subTest(pk=pk):
                response = self.client.get(f"/products/{pk}/")
                self.assertContains(response, "Not found", status_code=404)


class ConstraintTests(CatalogueTestCase):
    def test_the_database_refuses_what_makes_no_sense(self) -> None:
        review = Review.objects.earliest("pk")
        for rows, change in (
            (Product.objects.filter(pk=1), {"price": Decimal("-0.01")}),
            (Review.objects.filter(pk=review.pk), {"rating": 6}),
            (Product.objects.filter(pk=2), {"sku": "SKU-000001"}),
        ):
            with (
                self.subTest(change=change),
                self.assertRaises(IntegrityError),
                transaction.atomic(),
            ):
                rows.update(**change)

    def test_rows_say_what_they_are(self) -> None:
        product = Product.objects.get(pk=1)
        self.assertEqual(str(product), f"{product.name} (SKU-000001)")
        self.assertEqual(str(product.category), product.category.name)
        self.assertEqual(str(product.supplier), product.supplier.name)
        review = Review.objects.earliest("pk")
        self.assertEqual(str(review), f"{review.rating}/5 for {review.product_id} by {review.customer_id}")
