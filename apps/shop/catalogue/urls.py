from django.urls import path

from catalogue import views

urlpatterns = [
    path("", views.product_list, name="product-list"),
    path("export/", views.product_export, name="product-export"),
    path("<int:pk>/", views.product_detail, name="product-detail"),
]
