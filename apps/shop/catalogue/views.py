"""The list of products as JSON, and one product as a page."""

import json
from typing import Any

from django.core.paginator import InvalidPage, Paginator
from django.core.validators import slug_re
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from catalogue.models import Category, Product
from catalogue.queries import exported_products, full_products, latest_reviews, product_ids, related_products
from shop.responses import error

PAGE_SIZE = 20
EXPORT_ROWS = 1000
# Rows that are fetched at once: fewer than are exported, so that the cursor lives for a while.
EXPORT_CHUNK = 100


@require_safe
def product_list(request: HttpRequest) -> JsonResponse:
    """One page of the catalogue, of one category where `category` holds a slug."""
    category = None
    if slug := request.GET.get("category"):
        category = find_category(slug)
        if category is None:
            return error(f"There is no category {slug!r}.", status=404)
    paginator = Paginator(product_ids(category), PAGE_SIZE)
    number = request.GET.get("page", "1")
    try:
        page = paginator.page(number)
    except InvalidPage:
        return error(f"There is no page {number!r}: pages go from 1 to {paginator.num_pages}.", status=404)
    return JsonResponse(
        {
            "count": paginator.count,
            "page": page.number,
            "pages": paginator.num_pages,
            "results": [as_row(product) for product in full_products().filter(pk__in=list(page))],
        }
    )


def find_category(slug: str) -> Category | None:
    """Look up a slug, unless it cannot be one: PostgreSQL refuses text with a NUL in it, for instance."""
    return Category.objects.filter(slug=slug).first() if slug_re.match(slug) else None


def as_row(product: Product) -> dict[str, Any]:
    return {
        "id": product.pk,
        "name": product.name,
        "sku": product.sku,
        "price": str(product.price),
        "category": product.category.name,
        "supplier": product.supplier.name,
    }


@require_safe
def product_export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The first `rows` products as lines of JSON, sent while they are read.

    Where the database has cursors of its own (PostgreSQL), the rows wait there and not in this process.
    """
    rows = request.GET.get("rows", str(EXPORT_ROWS))
    if not rows.isdecimal():
        return error("rows: a whole number.", status=400)
    lines = (
        json.dumps({"id": pk, "name": name, "price": str(price)}) + "\n"
        for pk, name, price in exported_products(int(rows)).iterator(chunk_size=EXPORT_CHUNK)
    )
    return StreamingHttpResponse(lines, content_type="application/x-ndjson")


@require_safe
def product_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A product's page, with others of its category and the latest reviews."""
    product = get_object_or_404(full_products(), pk=pk)
    context = {
        "product": product,
        "related": related_products(product),
        "reviews": latest_reviews(product),
    }
    return render(request, "catalogue/product_detail.html", context)
