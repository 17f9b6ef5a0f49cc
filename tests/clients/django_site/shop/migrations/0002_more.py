"""What migrations do besides creating tables: alter columns, rename, run SQL."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [
        migrations.AddField("item", "note", models.TextField(default="none")),
        migrations.AlterField("category", "name", models.CharField(max_length=80, unique=True)),
        migrations.RunSQL(
            "CREATE VIEW shop_cheap AS SELECT id, name FROM shop_item WHERE price < 10",
            "DROP VIEW shop_cheap",
        ),
        migrations.RenameField("item", "note", "remark"),
        migrations.AddIndex("category", models.Index(fields=["parent", "name"], name="category_path")),
    ]
