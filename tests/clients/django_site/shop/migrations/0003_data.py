"""Moves data."""

from django.db import migrations


def fill(apps, schema_editor):
    Category = apps.get_model("shop", "Category")
    Category.objects.bulk_create([Category(name=name) for name in ("tools", "toys")])


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_more")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
