from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Customer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("email", models.EmailField(max_length=254, unique=True)),
                ("city", models.CharField(max_length=80)),
                ("country", models.CharField(help_text="ISO 3166-1 code of two letters", max_length=2)),
                ("joined_on", models.DateField()),
            ],
            options={
                "indexes": [models.Index(fields=["country", "city"], name="customer_country_city")],
            },
        ),
    ]
