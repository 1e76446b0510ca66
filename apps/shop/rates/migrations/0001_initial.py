from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

CURRENCIES = ("CHF", "EUR", "GBP", "USD")


def fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    rate = apps.get_model("rates", "Rate")
    rate.objects.using(schema_editor.connection.alias).bulk_create(rate(currency=name) for name in CURRENCIES)


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Rate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("currency", models.CharField(max_length=3, unique=True)),
                ("version", models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
