"""What the shop sells, who makes it, and what customers say about it."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse


class Category(models.Model):
    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)

    class Meta:
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class Supplier(models.Model):
    name = models.CharField(max_length=120, unique=True)
    country = models.CharField(max_length=2, help_text="ISO 3166-1 code of two letters")
    email = models.EmailField()

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    sku = models.CharField("SKU", max_length=20, unique=True)
    name = models.CharField(max_length=160)
    description = models.TextField(blank=True)
    # The index below starts with the category and serves the foreign key too.
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products", db_index=False)
    supplier = models.ForeignKey(Supplier, on_delete=models.PROTECT, related_name="products")
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)
    added_on = models.DateField()

    class Meta:
        indexes = [models.Index(fields=["category", "id"], name="product_category_id")]
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0), name="product_price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sku})"

    def get_absolute_url(self) -> str:
        return reverse("product-detail", args=[self.pk])


class Review(models.Model):
    # The unique constraint below starts with the product and serves the foreign key too.
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="reviews", db_index=False)
    customer = models.ForeignKey("customers.Customer", on_delete=models.CASCADE, related_name="reviews")
    rating = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    text = models.TextField()
    written_on = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["product", "customer"], name="review_once_per_customer"),
            models.CheckConstraint(condition=Q(rating__range=(1, 5)), name="review_rating_1_to_5"),
        ]

    def __str__(self) -> str:
        return f"{self.rating}/5 for {self.product_id} by {self.customer_id}"
