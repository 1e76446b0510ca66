from django.db import IntegrityError
from django.test import TestCase

from customers.models import Customer


class CustomerTests(TestCase):
    def test_an_email_belongs_to_one_customer(self) -> None:
        fields = {"email": "ada@mail.example", "city": "Oslo", "country": "NO", "joined_on": "2023-01-01"}
        self.assertEqual(str(Customer.objects.create(name="Ada Novak", **fields)), "Ada Novak")
        with self.assertRaises(IntegrityError):
            Customer.objects.create(name="Another Ada", **fields)
