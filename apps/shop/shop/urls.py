"""The paths of the shop."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from shop import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("health/", views.health, name="health"),
    path("hold/", views.hold, name="hold"),
    path("products/", include("catalogue.urls")),
    path("orders/", include("orders.urls")),
    path("rates/", include("rates.urls")),
    path("reports/", include("reports.urls")),
    path("admin/", admin.site.urls),
]
