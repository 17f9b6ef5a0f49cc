from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db import models


class Category(models.Model):
    name = models.CharField(max_length=80, unique=True)
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children")

    class Meta:
        indexes = [models.Index(fields=["parent", "name"], name="category_path")]


class Item(models.Model):
    class Color(models.TextChoices):
        RED = "r"
        BLUE = "b"

    name = models.CharField(max_length=50)
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="items")
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField(default=0)
    color = models.CharField(max_length=1, choices=Color.choices, default=Color.RED)
    data = models.JSONField(default=dict)
    labels = ArrayField(models.CharField(max_length=10), default=list)
    code = models.UUIDField(null=True, unique=True)
    added = models.DateTimeField(null=True)
    sellers = models.ManyToManyField(User, related_name="items")
    remark = models.TextField(default="none")

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["name", "-price"], name="item_name_price")]
        constraints = [
            models.CheckConstraint(condition=models.Q(stock__gte=0), name="item_stock_not_negative"),
            models.UniqueConstraint(fields=["name", "category"], name="item_once_per_category"),
        ]
