from django.contrib import admin

from catalogue.models import Category, Product, Review, Supplier


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}


@admin.register(Supplier)
class SupplierAdmin(admin.ModelAdmin):
    list_display = ["name", "country", "email"]
    list_filter = ["country"]
    search_fields = ["name"]


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["sku", "name", "category", "supplier", "price", "stock"]
    list_filter = ["category"]
    list_select_related = ["category", "supplier"]
    search_fields = ["sku", "name"]


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["product", "customer", "rating", "written_on"]
    list_filter = ["rating"]
    list_select_related = ["product", "customer"]
    raw_id_fields = ["product", "customer"]
