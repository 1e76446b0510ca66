"""The reads behind the catalogue's pages."""

from decimal import Decimal

from django.db.models import QuerySet

from catalogue.models import Category, Product, Review

RELATED_SHOWN = 4
REVIEWS_SHOWN = 5


def product_ids(category: Category | None) -> QuerySet[Product, int]:
    """The ids of all products, or of one category's, in their order.

    A page is cut out of the ids alone, and only its products are joined to the other tables. A database that
    is asked for both at once joins every product up to the page, and MariaDB even sorts all of them.
    """
    products = Product.objects.all() if category is None else Product.objects.filter(category=category)
    return products.order_by("pk").values_list("pk", flat=True)


def full_products() -> QuerySet[Product]:
    """Products with the category and the supplier that are shown with them."""
    return Product.objects.select_related("category", "supplier").order_by("pk")


def exported_products(most: int) -> QuerySet[Product, tuple[int, str, Decimal]]:
    """What the export has of each product, one row at a time from the database."""
    return Product.objects.order_by("pk").values_list("pk", "name", "price")[:most]


def related_products(product: Product) -> QuerySet[Product]:
    """The next few products of the same category: a short walk along one index."""
    same_category = Product.objects.filter(category_id=product.category_id, pk__gt=product.pk)
    return same_category.only("name", "price").order_by("pk")[:RELATED_SHOWN]


def latest_reviews(product: Product) -> QuerySet[Review]:
    reviews = product.reviews.select_related("customer")
    return reviews.order_by("-written_on", "-pk")[:REVIEWS_SHOWN]
