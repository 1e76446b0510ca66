"""Who buys."""

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=120)
    email = models.EmailField(unique=True)
    city = models.CharField(max_length=80)
    country = models.CharField(max_length=2, help_text="ISO 3166-1 code of two letters")
    joined_on = models.DateField()

    class Meta:
        indexes = [models.Index(fields=["country", "city"], name="customer_country_city")]

    def __str__(self) -> str:
        return self.name
