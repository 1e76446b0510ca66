"""What foreign money is worth: few rows, read often, changed now and then."""

from django.db import models


class Rate(models.Model):
    """`version` counts the changes, so that whoever reads can say how new a rate must be."""

    currency = models.CharField(max_length=3, unique=True)
    version = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.currency} version {self.version}"
