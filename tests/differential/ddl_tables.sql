-- Tables with everything a column and a table can have.
CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, age int CHECK (age >= 0), created timestamptz NOT NULL DEFAULT '2024-01-01 00:00+00', note varchar(10), price numeric(8, 2))

INSERT INTO users (email, age, price) VALUES ('a@x', 1, 1.5), ('b@x', 2, 2.25) RETURNING *

CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, user_id int NOT NULL REFERENCES users ON DELETE CASCADE, amount numeric(10,2) NOT NULL, tax numeric GENERATED ALWAYS AS (amount * 0.2) STORED, CONSTRAINT orders_pk PRIMARY KEY (id))

INSERT INTO orders (user_id, amount) VALUES (1, 10), (2, 20.5) RETURNING *

INSERT INTO orders (id, user_id, amount) VALUES (7, 1, 1)

INSERT INTO orders (id, user_id, amount) OVERRIDING SYSTEM VALUE VALUES (7, 1, 1) RETURNING id

CREATE TABLE IF NOT EXISTS users (id int)

CREATE TABLE users (id int)

CREATE TABLE like_users (LIKE users INCLUDING ALL)

SELECT * FROM like_users

INSERT INTO like_users (email) VALUES ('c@x') RETURNING id > 0

CREATE TABLE from_query AS SELECT id, email, age * 2 AS double FROM users ORDER BY id

SELECT * FROM from_query ORDER BY id

CREATE TABLE no_data AS SELECT * FROM users WITH NO DATA

SELECT count(*) FROM no_data

SELECT id, email INTO from_select_into FROM users

SELECT * FROM from_select_into ORDER BY id

CREATE TABLE from_values (a, b) AS VALUES (1, 'x'), (2, 'y')

SELECT * FROM from_values ORDER BY a

CREATE UNLOGGED TABLE quick (x int) WITH (fillfactor = 70)

INSERT INTO quick SELECT generate_series(1, 5)

ALTER TABLE quick SET LOGGED

SELECT sum(x) FROM quick

ALTER TABLE users ADD COLUMN active boolean NOT NULL DEFAULT true, ADD COLUMN tags text[]

SELECT id, active, tags FROM users ORDER BY id

ALTER TABLE users ALTER COLUMN note TYPE text USING coalesce(note, '') || '!', ALTER COLUMN age SET DEFAULT 18

INSERT INTO users (email) VALUES ('d@x') RETURNING *

ALTER TABLE users RENAME COLUMN note TO remark

SELECT remark FROM users ORDER BY id

SELECT note FROM users

ALTER TABLE users RENAME TO people

SELECT count(*) FROM people

SELECT count(*) FROM users

ALTER TABLE people ADD CONSTRAINT adult CHECK (age >= 18)

ALTER TABLE people ADD CONSTRAINT adult CHECK (age >= 18) NOT VALID

INSERT INTO people (email, age) VALUES ('e@x', 3)

ALTER TABLE people VALIDATE CONSTRAINT adult

DELETE FROM people WHERE age < 18 RETURNING email

ALTER TABLE people VALIDATE CONSTRAINT adult

SELECT * FROM orders

ALTER TABLE people RENAME CONSTRAINT adult TO grown_up

ALTER TABLE people DROP CONSTRAINT grown_up

ALTER TABLE people ALTER COLUMN email DROP NOT NULL, ALTER COLUMN age SET NOT NULL

ALTER TABLE people DROP COLUMN tags

SELECT * FROM people ORDER BY id

ALTER TABLE people DROP COLUMN nothing

ALTER TABLE people DROP COLUMN IF EXISTS nothing

ALTER TABLE IF EXISTS nobody ADD COLUMN x int

ALTER TABLE people ADD COLUMN email int

CREATE INDEX people_age ON people (age DESC NULLS LAST) INCLUDE (email) WHERE age > 20

CREATE UNIQUE INDEX people_lower_email ON people (lower(email))

CREATE INDEX ON people USING hash (email)

CREATE INDEX IF NOT EXISTS people_age ON people (age)

INSERT INTO people (email, age) VALUES ('D@X', 30)

ALTER INDEX people_age RENAME TO people_by_age

REINDEX TABLE people

REINDEX INDEX people_by_age

DROP INDEX people_by_age

DROP INDEX people_by_age

DROP INDEX IF EXISTS people_by_age

CREATE INDEX CONCURRENTLY people_concurrent ON people (created)

REINDEX INDEX CONCURRENTLY people_concurrent

DROP INDEX CONCURRENTLY people_concurrent

CLUSTER people USING people_pkey

CREATE STATISTICS people_stats (dependencies) ON age, email FROM people

ANALYZE people

ANALYZE

VACUUM people

VACUUM (ANALYZE, FULL) people

-- differs: statistics are the node's, and the shell has no rows
SELECT reltuples FROM pg_class WHERE oid = 'from_values'::regclass

DROP STATISTICS people_stats

COMMENT ON TABLE people IS 'those who order'

COMMENT ON COLUMN people.email IS 'where to write'

SELECT obj_description('people'::regclass), col_description('people'::regclass, 2)

TRUNCATE orders RESTART IDENTITY

INSERT INTO people (id, email, age) VALUES (100, 'z@x', 50)

INSERT INTO orders (user_id, amount) VALUES (100, 3) RETURNING id

TRUNCATE people

TRUNCATE people CASCADE

SELECT count(*) FROM orders

DROP TABLE people

DROP TABLE people CASCADE

INSERT INTO orders (user_id, amount) VALUES (1, 1) RETURNING id

DROP TABLE IF EXISTS people, orders

DROP TABLE orders

CREATE TABLE bad (id int PRIMARY KEY, id int)

CREATE TABLE bad (id nothing)

CREATE TABLE bad (id int REFERENCES nothing)

CREATE TABLE bad (id int CHECK (nothing > 1))

CREATE TABLE bad (id int DEFAULT 'x')

CREATE TABLE parent (a int, b text)

CREATE TABLE child (c int) INHERITS (parent)

INSERT INTO child VALUES (1, 'x', 2)

INSERT INTO parent VALUES (2, 'y')

SELECT * FROM parent ORDER BY a

SELECT * FROM ONLY parent

UPDATE parent SET b = b || '+' RETURNING *

ALTER TABLE child NO INHERIT parent

SELECT * FROM parent

CREATE TABLE exclusive (room int, during tsrange, EXCLUDE USING gist (during WITH &&))

INSERT INTO exclusive VALUES (1, '[2024-01-01, 2024-01-02)')

INSERT INTO exclusive VALUES (1, '[2024-01-01 12:00, 2024-01-03)')

CREATE TABLE deferred (id int PRIMARY KEY, next int REFERENCES deferred DEFERRABLE INITIALLY DEFERRED)

INSERT INTO deferred VALUES (1, 2), (2, 1)

-- differs: the deferred constraint fails before the command tag, not after it
INSERT INTO deferred VALUES (3, 4)

CREATE TYPE person AS (name text, age int)

CREATE TABLE typed OF person (PRIMARY KEY (name))

INSERT INTO typed VALUES ('x', 1) RETURNING *

ALTER TABLE typed REPLICA IDENTITY FULL

SELECT relname, relkind, relpersistence, relreplident FROM pg_class WHERE relnamespace = 'ddl_tables'::regnamespace ORDER BY 1

SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'ddl_tables' ORDER BY table_name, ordinal_position

SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'ddl_tables'::regnamespace ORDER BY 1

SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'ddl_tables' ORDER BY 1

CREATE TABLE one (x int); CREATE TABLE two (y int); INSERT INTO one VALUES (1); SELECT x FROM one; DROP TABLE one, two

BEGIN; CREATE TABLE gone (x int); INSERT INTO gone VALUES (1); ROLLBACK

SELECT * FROM gone

BEGIN

CREATE TABLE kept (x int)

INSERT INTO kept VALUES (1), (2)

ALTER TABLE kept ADD COLUMN y int DEFAULT 7

SELECT * FROM kept ORDER BY x

CREATE INDEX kept_x ON kept (x)

COMMIT

SELECT * FROM kept ORDER BY x

BEGIN

DROP TABLE kept

SELECT * FROM kept

ROLLBACK

SELECT count(*) FROM kept
