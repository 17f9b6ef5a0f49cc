"""SQLAlchemy 2: schema creation, reflection, the unit of work, relationships, bulk operations.

Runs twice: with the tenant in the search_path, and with the schema named in the metadata."""

import datetime as dt
import enum
import os

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Mapped, mapped_column, relationship

URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
TENANT = os.environ["TENANT"]


class Status(enum.Enum):
    open = "open"
    paid = "paid"


def show(title, *values):
    print(title, *[repr(value) for value in values])


def models(schema):
    class Base(orm.DeclarativeBase):
        metadata = sa.MetaData(schema=schema)

    member = sa.Table(
        "membership", Base.metadata,
        sa.Column("user_id", sa.ForeignKey(Base.metadata.schema + ".users.id" if schema else "users.id"), primary_key=True),
        sa.Column("group_id", sa.ForeignKey(Base.metadata.schema + ".groups.id" if schema else "groups.id"), primary_key=True),
    )
    prefix = f"{schema}." if schema else ""

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(sa.String(50), index=True)
        email: Mapped[str | None] = mapped_column(unique=True)
        created: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.text("'2024-01-01 00:00+00'"))
        tags: Mapped[list[str]] = mapped_column(pg.ARRAY(sa.Text), server_default="{}")
        data: Mapped[dict | None] = mapped_column(pg.JSONB)
        upper: Mapped[str] = mapped_column(sa.Computed("upper(name)", persisted=True))
        orders: Mapped[list["Order"]] = relationship(back_populates="user", cascade="all, delete-orphan", order_by="Order.id")
        groups: Mapped[list["Group"]] = relationship(secondary=member, back_populates="users", order_by="Group.id")
        __table_args__ = (sa.CheckConstraint("length(name) > 0", name="name_not_empty"),)

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(start=100), primary_key=True)
        user_id: Mapped[int] = mapped_column(sa.ForeignKey(prefix + "users.id", ondelete="CASCADE"))
        amount: Mapped[float] = mapped_column(sa.Numeric(10, 2))
        status: Mapped[Status] = mapped_column(sa.Enum(Status, name="order_status", inherit_schema=True), default=Status.open)
        version: Mapped[int] = mapped_column()
        user: Mapped[User] = relationship(back_populates="orders")
        __mapper_args__ = {"version_id_col": version}
        __table_args__ = (sa.Index("orders_status", "status", postgresql_where=sa.text("amount > 0")),)

    class Group(Base):
        __tablename__ = "groups"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        users: Mapped[list[User]] = relationship(secondary=member, back_populates="groups")

    class Animal(Base):
        __tablename__ = "animals"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}

    class Dog(Animal):
        __tablename__ = "dogs"
        id: Mapped[int] = mapped_column(sa.ForeignKey(prefix + "animals.id"), primary_key=True)
        bark: Mapped[str]
        __mapper_args__ = {"polymorphic_identity": "dog"}

    return Base, User, Order, Group, Animal, Dog


def reflection(engine, schema):
    inspector = sa.inspect(engine)
    for table in sorted(inspector.get_table_names(schema=schema)):
        columns = [(c["name"], str(c["type"]), c["nullable"], c["default"], c.get("computed"), c.get("identity"))
                   for c in inspector.get_columns(table, schema=schema)]
        show("table", table, columns)
        show(" key", inspector.get_pk_constraint(table, schema=schema))
        show(" foreign", inspector.get_foreign_keys(table, schema=schema))
        show(" indexes", inspector.get_indexes(table, schema=schema))
        show(" unique", inspector.get_unique_constraints(table, schema=schema))
        show(" checks", inspector.get_check_constraints(table, schema=schema))
        show(" comment", inspector.get_table_comment(table, schema=schema))
    show("enums", inspector.get_enums(schema=schema))
    show("views", inspector.get_view_names(schema=schema))
    show("has", inspector.has_table("users", schema=schema), inspector.has_table("nothing", schema=schema))
    metadata = sa.MetaData(schema=schema)
    metadata.reflect(engine)
    show("reflected", sorted(table.name for table in metadata.sorted_tables))


def crud(session, User, Order, Group, Animal, Dog):
    ann = User(name="Ann", email="ann@x", tags=["a", "b"], data={"k": [1, {"z": None}]})
    bob = User(name="Bob", orders=[Order(amount=5), Order(amount=7.25, status=Status.paid)])
    ann.groups = [Group(name="g1"), Group(name="g2")]
    bob.groups = [ann.groups[0]]
    session.add_all([ann, bob, Dog(bark="woof"), Animal()])
    session.flush()
    show("ids", ann.id, bob.id, [o.id for o in bob.orders], ann.created, ann.upper, ann.tags)
    session.commit()
    show("loaded", bob.orders[1].status, bob.orders[1].amount, bob.orders[0].version)
    bob.orders[0].amount = 6
    bob.name = "Robert"
    ann.data = {"k": "changed"}
    session.commit()
    show("updated", bob.upper, bob.orders[0].version, ann.data)
    show("joined", [(u.name, [float(o.amount) for o in u.orders]) for u in session.scalars(
        sa.select(User).options(orm.joinedload(User.orders)).order_by(User.id)).unique()])
    session.expire_all()
    show("selectin", [(u.name, [g.name for g in u.groups]) for u in session.scalars(
        sa.select(User).options(orm.selectinload(User.groups), orm.subqueryload(User.orders)).order_by(User.id))])
    show("aggregate", session.execute(
        sa.select(User.name, sa.func.count(Order.id), sa.func.sum(Order.amount)).outerjoin(User.orders)
        .group_by(User.name).order_by(User.name)).all())
    show("json", session.scalars(sa.select(User.name).where(User.data["k"].astext == "changed")).all())
    show("array", session.scalars(sa.select(User.name).where(User.tags.contains(["a"]))).all())
    show("enum", session.scalars(sa.select(Order.id).where(Order.status.in_([Status.paid]))).all())
    window = sa.func.row_number().over(partition_by=Order.user_id, order_by=Order.amount.desc())
    show("window", session.execute(sa.select(Order.id, window).order_by(Order.id)).all())
    cte = sa.select(Order.user_id, sa.func.max(Order.amount).label("m")).group_by(Order.user_id).cte("best")
    show("cte", session.execute(sa.select(User.name, cte.c.m).join(cte, cte.c.user_id == User.id)).all())
    show("polymorphic", [type(a).__name__ for a in session.scalars(sa.select(Animal).order_by(Animal.id))])
    show("lock", session.scalars(sa.select(User.id).order_by(User.id).with_for_update(skip_locked=True)).all())
    session.commit()
    show("bulk", session.scalars(
        sa.insert(User).returning(User.id, sort_by_parameter_order=True),
        [{"name": f"bulk {i}"} for i in range(1200)]).all()[-3:])
    session.commit()
    upsert = pg.insert(User).values([{"email": "ann@x", "name": "Upserted"}, {"email": "new@x", "name": "New"}])
    upsert = upsert.on_conflict_do_update(index_elements=["email"], set_={"name": upsert.excluded.name})
    show("upsert", session.execute(upsert.returning(User.name)).all())
    show("bulk update", session.execute(sa.update(User).where(User.name.like("bulk %")).values(email=None)).rowcount)
    show("bulk delete", session.execute(sa.delete(User).where(User.name.like("bulk %"))).rowcount)
    session.commit()
    count = 0
    for part in session.scalars(sa.select(User.id).execution_options(yield_per=2)).partitions():
        count += len(part)
    show("yielded", count)
    session.delete(bob)
    session.commit()
    show("cascade", session.scalar(sa.select(sa.func.count()).select_from(Order)))


def failures(session, User, Order):
    for title, work in {
        "unique": lambda: session.add_all([User(name="x", email="twice"), User(name="y", email="twice")]),
        "check": lambda: session.add(User(name="")),
        "foreign": lambda: session.add(Order(user_id=-1, amount=1)),
        "length": lambda: session.add(User(name="x" * 51)),
    }.items():
        try:
            work()
            session.flush()
            show(title, "no error")
        except sa.exc.DBAPIError as error:
            diag = error.orig.diag
            show(title, type(error).__name__, diag.sqlstate, diag.message_primary, diag.message_detail, diag.constraint_name)
        session.rollback()
    with session.begin():
        session.add(User(name="outer", email="outer"))
        try:
            with session.begin_nested():
                session.add(User(name="inner", email="outer"))
        except sa.exc.IntegrityError as error:
            show("nested", error.orig.diag.constraint_name)
    show("kept", session.scalars(sa.select(User.name).where(User.email == "outer")).all())
    session.rollback()


def run(engine, schema):
    print("== schema", schema)
    Base, User, Order, Group, Animal, Dog = models(schema)
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    reflection(engine, schema)
    with orm.Session(engine) as session:
        crud(session, User, Order, Group, Animal, Dog)
        failures(session, User, Order)
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as conn:
        show("isolation", conn.execute(sa.text("SELECT current_setting('transaction_isolation') FROM " + (f"{schema}." if schema else "") + "users LIMIT 1")).scalar())
    Base.metadata.drop_all(engine)
    show("left", sa.inspect(engine).get_table_names(schema=schema), sa.inspect(engine).get_enums(schema=schema))


def main():
    options = {"options": f"-c search_path={TENANT}"}
    engine = sa.create_engine(URL, connect_args=options)
    run(engine, None)
    engine.dispose()
    engine = sa.create_engine(URL)
    run(engine, TENANT)
    engine.dispose()


main()
print("== the end")
