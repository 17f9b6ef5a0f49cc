"""psycopg 3: all its ways to send statements, and its adaptation of types."""

import datetime as dt
import enum
import logging
import os
import uuid
from decimal import Decimal

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row, namedtuple_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

URL = os.environ["DATABASE_URL"]
TENANT = os.environ["TENANT"]

# Whether leaving an aborted pipeline causes a warning depends on timing.
logging.getLogger("psycopg").setLevel(logging.CRITICAL)


def show(title, *values):
    print(title, *[repr(value) for value in values])


def failure(title, conn, statement, params=None):
    """Shows an error with all the fields a program can read; the connection stays usable."""
    try:
        with conn.transaction():
            conn.execute(statement, params)
    except psycopg.Error as error:
        diag = error.diag
        show(
            title, type(error).__name__, diag.sqlstate, diag.message_primary, diag.message_detail,
            diag.message_hint, diag.statement_position, diag.schema_name, diag.table_name,
            diag.column_name, diag.constraint_name, diag.datatype_name,
        )
    else:
        show(title, "no error")


def connect(**kwargs):
    return psycopg.connect(URL, options=f"-c search_path={TENANT}", **kwargs)


class Mood(enum.Enum):
    sad = "sad"
    happy = "happy"


def schema(conn):
    conn.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    conn.execute("CREATE TYPE address AS (street text, number int)")
    conn.execute(
        """
        CREATE TABLE people (
            id serial PRIMARY KEY, name text NOT NULL, mood mood, at address, tags text[],
            data jsonb, uid uuid UNIQUE, born date, seen timestamptz, pay numeric(10, 2),
            raw bytea, spans int4range, wait interval, score float8, ok boolean
        )"""
    )


def simple(conn):
    cur = conn.execute("INSERT INTO people (name) VALUES ('a'), ('b') RETURNING id, name")
    show("returning", cur.fetchall(), cur.rowcount, cur.statusmessage)
    cur = conn.execute("UPDATE people SET pay = 1.5")
    show("update", cur.rowcount, cur.statusmessage, cur.description)
    cur = conn.execute("SELECT id, name, pay FROM people ORDER BY id")
    show("select", [c.name for c in cur.description], [c.type_code for c in cur.description],
         [c.precision for c in cur.description], cur.fetchone(), cur.fetchmany(5), cur.fetchone())
    # Several statements in one string.
    cur = conn.execute("SELECT 1 FROM people; SELECT count(*) FROM people; UPDATE people SET ok = true")
    while True:
        show("result", cur.statusmessage, cur.fetchall() if cur.description else None)
        if not cur.nextset():
            break
    failure("several fail", conn, "UPDATE people SET ok = false; SELECT 1 / (id - 1) FROM people")
    show("unchanged", conn.execute("SELECT bool_and(ok) FROM people").fetchone())


def adaptation(conn):
    register_enum(EnumInfo.fetch(conn, "mood"), conn, Mood)
    register_composite(CompositeInfo.fetch(conn, "address"), conn)
    address = CompositeInfo.fetch(conn, "address").python_type
    values = {
        "name": "Zoë 漢字 😀 'quote' \\ back",
        "mood": Mood.happy,
        "tags": ["x", None, 'with "quote"', "a,b"],
        "data": Jsonb({"k": [1, 2.5, None, {"deep": True}]}),
        "uid": uuid.UUID(int=7),
        "born": dt.date(2024, 2, 29),
        "seen": dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone.utc),
        "pay": Decimal("12345.67"),
        "raw": bytes(range(256)),
        "spans": Range(1, 10),
        "wait": dt.timedelta(days=1, seconds=5, microseconds=6),
        "score": 0.1,
        "ok": True,
    }
    names = sql.SQL(", ").join(map(sql.Identifier, values))
    places = sql.SQL(", ").join(map(sql.Placeholder, values))
    insert = sql.SQL("INSERT INTO people ({}) VALUES ({}) RETURNING *").format(names, places)
    for binary in (False, True):
        cur = conn.cursor(binary=binary, row_factory=dict_row)
        row = cur.execute(insert, {**values, "uid": uuid.UUID(int=int(binary) + 1)}).fetchone()
        show(f"row binary={binary}", {k: v for k, v in row.items()})
    # A parameter of the composite type itself, and arrays of user-defined types.
    if address is not None:
        cur = conn.execute("UPDATE people SET at = %s WHERE id = 1 RETURNING at", [address("Main", 5)])
        show("composite", tuple(cur.fetchone()[0]))
    cur = conn.execute("SELECT %s::mood[], mood FROM people WHERE mood = ANY (%s::mood[]) ORDER BY id",
                       [[Mood.sad, Mood.happy], [Mood.happy]], binary=True)
    show("enums", cur.fetchall())
    cur = conn.execute("SELECT name FROM people WHERE id = ANY (%s) ORDER BY id", [[1, 2]])
    show("any", cur.fetchall())
    cur = conn.execute("SELECT %s::int8, %s::text, %b::int4, count(*) FROM people", [1, None, 5])
    show("nulls", cur.fetchone())


def rows(conn):
    cur = conn.cursor(row_factory=namedtuple_row)
    show("named", cur.execute("SELECT id, name FROM people ORDER BY id LIMIT 1").fetchone())
    cur = conn.cursor(row_factory=class_row(dict))
    show("class", cur.execute("SELECT id, name FROM people ORDER BY id LIMIT 1").fetchone())


def prepared(conn):
    for i in range(1, 8):
        cur = conn.execute("SELECT name FROM people WHERE id = %s", [i], prepare=True)
        show("prepared", cur.fetchone())
    show("names", conn.execute(
        "SELECT count(*) > 0 FROM pg_prepared_statements WHERE statement LIKE '%people%'").fetchone())
    conn.execute("ALTER TABLE people ADD COLUMN extra int DEFAULT 9")
    show("after alter", conn.execute("SELECT extra FROM people WHERE id = %s", [1]).fetchone())
    cur = conn.cursor()
    cur.executemany("INSERT INTO people (name, pay) VALUES (%s, %s) RETURNING id",
                    [(f"many {i}", i) for i in range(20)], returning=True)
    ids = [cur.fetchone()]
    while cur.nextset():
        ids.append(cur.fetchone())
    show("executemany", ids, cur.rowcount)


def cursors(conn):
    with conn.transaction():
        with conn.cursor(name="named") as cur:
            cur.itersize = 3
            cur.execute("SELECT id, name FROM people WHERE id > %s ORDER BY id", [0])
            show("iterated", [row[0] for row in cur])
        with conn.cursor(name="scrolled", scrollable=True) as cur:
            cur.execute("SELECT id FROM people ORDER BY id")
            show("fetched", cur.fetchmany(2), cur.fetchone())
            cur.scroll(-2)
            show("back", cur.fetchone())
            cur.scroll(5, mode="absolute")
            show("absolute", cur.fetchone(), cur.rownumber)
    with conn.cursor(name="held", withhold=True) as cur:
        cur.execute("SELECT id FROM people ORDER BY id")
        conn.commit()
        show("held", cur.fetchmany(3))
    with conn.cursor() as cur:
        total = sum(1 for _ in cur.stream("SELECT i, repeat('x', 10) FROM people, generate_series(1, 500) i"))
        show("streamed", total)


def copies(conn):
    conn.execute("CREATE TABLE loaded (id int PRIMARY KEY, v text, n numeric, at timestamptz)")
    with conn.cursor().copy("COPY loaded FROM STDIN") as copy:
        for i in range(1000):
            copy.write_row((i, f"v\t{i}\n", Decimal(i) / 4, dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)))
    with conn.cursor().copy("COPY loaded (id, v) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        for i in range(1000, 1100):
            copy.write_row((i, None if i % 2 else f"b{i}"))
    show("loaded", conn.execute("SELECT count(*), sum(id), sum(n), count(v) FROM loaded").fetchone())
    with conn.cursor().copy("COPY (SELECT id, v FROM loaded WHERE id < 3 ORDER BY id) TO STDOUT") as copy:
        show("lines", [bytes(block) for block in copy])
    with conn.cursor().copy("COPY (SELECT id, n, at FROM loaded WHERE id < 3 ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "numeric", "timestamptz"])
        show("binary rows", list(copy.rows()))
    conn.commit()
    for title, lines in [("duplicate", "1\tx\n"), ("malformed", "abc\tx\n")]:
        try:
            with conn.transaction(), conn.cursor().copy("COPY loaded (id, v) FROM STDIN") as copy:
                copy.write(lines)
        except psycopg.Error as error:
            show(title, error.diag.sqlstate, error.diag.message_primary, error.diag.message_detail)
    try:
        with conn.transaction(), conn.cursor().copy("COPY loaded (id) FROM STDIN") as copy:
            copy.write("5000\n")
            raise ValueError("the program fails")
    except ValueError as error:
        show("aborted", str(error))
    show("count", conn.execute("SELECT count(*) FROM loaded").fetchone())


def pipelines(conn):
    with conn.pipeline() as pipeline:
        first = conn.execute("INSERT INTO loaded (id, v) VALUES (%s, 'p') RETURNING id", [7000])
        second = conn.execute("SELECT count(*) FROM loaded WHERE id > %s", [6999])
        third = conn.execute("UPDATE loaded SET v = 'q' WHERE id = %s", [7000])
        pipeline.sync()
        show("pipeline", first.fetchone(), second.fetchone(), third.rowcount)
        cur = conn.cursor()
        cur.executemany("INSERT INTO loaded (id) VALUES (%s)", [(i,) for i in range(7001, 7051)])
    conn.commit()
    show("batch", conn.execute("SELECT count(*) FROM loaded WHERE id > 7000").fetchone())
    conn.commit()
    try:
        with conn.pipeline():
            conn.execute("INSERT INTO loaded (id) VALUES (8000)")
            conn.execute("INSERT INTO loaded (id) VALUES (8000)")
            conn.execute("INSERT INTO loaded (id) VALUES (8001)")
    except psycopg.Error as error:
        show("pipeline error", error.sqlstate, error.diag.constraint_name)
    conn.rollback()
    show("after", conn.execute("SELECT count(*) FROM loaded WHERE id >= 8000").fetchone())


def transactions(conn):
    conn.commit()
    with conn.transaction():
        conn.execute("UPDATE people SET score = 1 WHERE id = 1")
        try:
            with conn.transaction():
                conn.execute("UPDATE people SET score = 2 WHERE id = 1")
                raise psycopg.Rollback()
        except psycopg.Error as error:
            show("unexpected", error)
        show("inside", conn.execute("SELECT score FROM people WHERE id = 1").fetchone())
    failure("unique", conn, "INSERT INTO people (id, name) VALUES (1, 'x')")
    failure("not null", conn, "INSERT INTO people (name) VALUES (%s)", [None])
    failure("cast", conn, "SELECT %s::int FROM people", ["x"])
    failure("enum", conn, "SELECT id FROM people WHERE mood = %s::mood", ["angry"])
    failure("syntax", conn, "SELECT id FRM people")
    failure("column", conn, "SELECT nothing FROM people")
    failure("division", conn, "SELECT 1 / (id - 1) FROM people")
    show("status", conn.info.transaction_status.name)
    conn.commit()
    for level in (psycopg.IsolationLevel.SERIALIZABLE, psycopg.IsolationLevel.REPEATABLE_READ):
        conn.isolation_level = level
        show("level", conn.execute("SELECT current_setting('transaction_isolation'), count(*) FROM people").fetchone())
        conn.commit()
    conn.isolation_level = None
    conn.read_only = True
    failure("read only", conn, "DELETE FROM people")
    conn.rollback()
    conn.read_only = None


def notices(conn):
    conn.add_notice_handler(lambda diag: show("notice", diag.severity, diag.sqlstate, diag.message_primary))
    conn.execute(
        """CREATE FUNCTION talk(k int) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN RAISE NOTICE 'talking of %', k; RAISE WARNING 'careful'; RETURN k; END $$"""
    )
    show("talk", conn.execute("SELECT talk(id) FROM people WHERE id < 3 ORDER BY id").fetchall())
    conn.execute("DO $$ BEGIN RAISE NOTICE '% people', (SELECT count(*) FROM people); END $$")


def client_settings(conn):
    conn.execute("SET TIME ZONE 'Asia/Tokyo'")
    show("zone", conn.execute("SELECT seen, seen::text FROM people WHERE seen IS NOT NULL ORDER BY id LIMIT 1").fetchone())
    show("reported", conn.info.parameter_status("TimeZone"))
    conn.execute("SET app.user_id = '42'")
    show("custom", conn.execute("SELECT current_setting('app.user_id') FROM people LIMIT 1").fetchone())
    conn.rollback()


def main():
    with connect() as conn:
        schema(conn)
        for part in (simple, adaptation, rows, prepared, cursors, copies, pipelines, transactions,
                     notices, client_settings):
            print("==", part.__name__)
            part(conn)
            conn.commit()
    with connect(autocommit=True, prepare_threshold=None) as conn:
        print("== autocommit")
        cur = conn.cursor(row_factory=dict_row)
        show("count", cur.execute("SELECT count(*) FROM people").fetchone())
        failure("in autocommit", conn, "INSERT INTO people (id, name) VALUES (1, 'x')")
        raw = psycopg.ClientCursor(conn)
        show("client side", raw.execute("SELECT name FROM people WHERE id = %s", [1]).fetchone())
        server = psycopg.RawCursor(conn)
        show("raw", server.execute("SELECT name FROM people WHERE id = $1", [2]).fetchone())


main()
print("== the end")
