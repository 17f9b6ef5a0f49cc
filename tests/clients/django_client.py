"""Django: migrations with contributed apps, the ORM, transactions, introspection."""

import io
import os
import sys
import uuid
from datetime import datetime, timezone
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "django_site"))
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Prefetch, Q, Subquery, Sum, Value, Window
from django.db.models.functions import Coalesce, Rank, TruncMonth, Upper

django.setup()

from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from shop.models import Category, Item


def show(title, *values):
    print(title, *[repr(value) for value in values])


def failure(title, work):
    try:
        with transaction.atomic():
            work()
        show(title, "no error")
    except DatabaseError as error:
        diag = error.__cause__.diag
        show(title, type(error).__name__, diag.sqlstate, diag.message_primary, diag.message_detail, diag.constraint_name)


def command(*args, **kwargs):
    out = io.StringIO()
    call_command(*args, stdout=out, no_color=True, **kwargs)
    return out.getvalue()


def migrate():
    print(command("migrate"))
    print(command("showmigrations"))
    show("again", command("migrate"))
    show("check", command("makemigrations", check=True, dry_run=True))
    show("tables", sorted(connection.introspection.table_names()))
    show("permissions", Permission.objects.count())


def crud():
    tools = Category.objects.get(name="tools")
    child = Category.objects.create(name="hammers", parent=tools)
    item = Item.objects.create(
        name="hammer", category=child, price=Decimal("9.50"), data={"w": 1.5, "tags": ["a", None]},
        labels=["x", "y"], code=uuid.UUID(int=5), added=datetime(2024, 1, 2, 3, 4, tzinfo=timezone.utc),
    )
    item.refresh_from_db()
    show("item", item.pk, item.price, item.data, item.labels, item.code, item.added, item.remark if hasattr(item, "remark") else None)
    made = Item.objects.bulk_create([Item(name=f"bulk {i}", category=tools, price=i, stock=i) for i in range(50)])
    show("bulk", [i.pk for i in made][:3], len(made))
    Item.objects.bulk_create([Item(pk=item.pk, name="hammer", category=child, price=11)],
                             update_conflicts=True, update_fields=["price"], unique_fields=["id"])
    show("upsert", Item.objects.get(pk=item.pk).price)
    show("f", Item.objects.filter(stock__gt=40).update(stock=F("stock") * 2, name=Upper("name")))
    show("got", Item.objects.get_or_create(name="saw", category=tools, defaults={"price": 3})[1],
         Item.objects.update_or_create(name="saw", category=tools, defaults={"price": 4})[1])
    some = list(Item.objects.filter(stock__lt=3))
    for one in some:
        one.price += 1
    show("bulk update", Item.objects.bulk_update(some, ["price"]))
    show("json", list(Item.objects.filter(data__w__gt=1, data__tags__contains="a").values_list("name", flat=True)))
    show("array", list(Item.objects.filter(labels__contains=["x"]).values_list("labels", flat=True)))
    show("in", Item.objects.in_bulk([made[0].pk]).keys() == {made[0].pk})
    show("deleted", Item.objects.filter(name__startswith="bulk 1").delete())
    return item


def queries(item):
    user = User.objects.create_user("ann", "ann@x", "secret")
    user.groups.add(Group.objects.create(name="sellers"))
    item.sellers.add(user)
    show("auth", user.check_password("secret"), user.has_perm("shop.add_item"), list(user.groups.values_list("name")))
    show("aggregate", Item.objects.aggregate(n=Count("id"), total=Sum("stock"), best=Max("price"), mean=Avg("stock")))
    show("annotated", list(Category.objects.annotate(n=Count("items"), s=Coalesce(Sum("items__stock"), Value(0)))
                           .order_by("name").values_list("name", "n", "s")))
    show("subquery", list(Category.objects.annotate(
        dearest=Subquery(Item.objects.filter(category=OuterRef("pk")).order_by("-price", "id").values("name")[:1]),
        any=Exists(Item.objects.filter(category=OuterRef("pk")))).order_by("pk").values_list("name", "dearest", "any")))
    show("window", list(Item.objects.annotate(r=Window(Rank(), partition_by="category", order_by="-price"))
                        .order_by("id").values_list("id", "r"))[:4])
    show("related", [(i.name, i.category.name) for i in Item.objects.select_related("category")[:2]])
    show("prefetched", [(c.name, len(c.items.all())) for c in
                        Category.objects.prefetch_related(Prefetch("items", Item.objects.filter(stock__gt=1))).order_by("pk")])
    show("months", list(Item.objects.exclude(added=None).annotate(m=TruncMonth("added")).values_list("m", flat=True)))
    show("union", Item.objects.filter(stock=1).union(Item.objects.filter(stock=2)).count())
    show("or", Item.objects.filter(Q(name="saw") | ~Q(stock__gt=0)).count())
    show("iterator", sum(1 for _ in Item.objects.iterator(chunk_size=7)))
    show("distinct", list(Item.objects.order_by("category_id", "-stock").distinct("category_id").values_list("stock", flat=True)))
    show("raw", [i.name for i in Item.objects.raw("SELECT * FROM shop_item WHERE name = %s", ["saw"])])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM shop_cheap")
        show("view", cursor.fetchone())
    Session.objects.create(session_key="k", session_data="d", expire_date=datetime(2030, 1, 1, tzinfo=timezone.utc))
    show("session", Session.objects.get(pk="k").get_decoded())


def transactions(item):
    with transaction.atomic():
        locked = Item.objects.select_for_update(nowait=True).get(pk=item.pk)
        locked.stock = 77
        locked.save(update_fields=["stock"])
        try:
            with transaction.atomic():
                Item.objects.filter(pk=item.pk).update(stock=78)
                raise ValueError
        except ValueError:
            pass
        show("locked", list(Item.objects.select_for_update(skip_locked=True, of=("self",)).select_related("category")
                            .filter(pk=item.pk).values_list("stock", flat=True)))
    show("kept", Item.objects.get(pk=item.pk).stock)
    done = []
    with transaction.atomic():
        transaction.on_commit(lambda: done.append("yes"))
    show("on commit", done)
    failure("unique", lambda: Category.objects.create(name="tools"))
    failure("check", lambda: Item.objects.filter(pk=item.pk).update(stock=-1))
    failure("foreign", lambda: Item.objects.create(name="x", category_id=99999, price=1))
    failure("too long", lambda: Category.objects.create(name="x" * 200))
    failure("together", lambda: Item.objects.create(name="saw", category=Category.objects.get(name="tools"), price=1))
    try:
        Category.objects.get(name="hammers").delete()
    except IntegrityError as error:
        show("protected", type(error).__name__)
    sid = transaction.get_autocommit()
    show("autocommit", sid)


def introspection():
    print(command("inspectdb"))
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "shop_item")
        show("constraints", sorted((k, v["columns"], v["primary_key"], v["unique"], v["foreign_key"], v["check"], v["index"])
                                   for k, v in constraints.items()))
        show("sequences", connection.introspection.get_sequences(cursor, "shop_item"))
    print(command("sqlsequencereset", "shop"))
    print(command("dumpdata", "shop.category", indent=1))


def main():
    for part in (migrate, crud, queries, transactions, introspection):
        print("==", part.__name__)
        if part is crud:
            item = crud()
        elif part in (queries, transactions):
            part(item)
        else:
            part()
    print("== backwards")
    print(command("migrate", "shop", "0001"))
    print(command("flush", interactive=False))
    print(command("migrate", "shop", "zero"))
    show("tables", sorted(connection.introspection.table_names()))


main()
print("== the end")
