from django.contrib import admin

from customers.models import Customer


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    list_display = ["name", "email", "city", "country", "joined_on"]
    list_filter = ["country"]
    search_fields = ["name", "email"]
