-- Types, domains, enums, collations, functions, operators, policies and other objects in a schema.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')

CREATE TABLE feelings (id int PRIMARY KEY, mood mood DEFAULT 'ok')

INSERT INTO feelings VALUES (1, 'sad'), (2, 'happy'), (3, DEFAULT) RETURNING *

SELECT * FROM feelings ORDER BY mood DESC

INSERT INTO feelings VALUES (4, 'angry')

ALTER TYPE mood ADD VALUE 'angry' BEFORE 'sad'

INSERT INTO feelings VALUES (4, 'angry')

SELECT * FROM feelings ORDER BY mood

SELECT enum_range(NULL::mood), 'sad'::mood < 'ok'::mood

ALTER TYPE mood RENAME VALUE 'angry' TO 'furious'

SELECT mood FROM feelings ORDER BY mood

ALTER TYPE mood ADD VALUE 'sad'

ALTER TYPE mood ADD VALUE IF NOT EXISTS 'sad'

ALTER TYPE mood RENAME TO temper

SELECT max(mood), pg_typeof(max(mood)) FROM feelings

SELECT array_agg(mood ORDER BY id) FROM feelings

CREATE DOMAIN positive AS int CHECK (VALUE > 0) DEFAULT 1 NOT NULL

CREATE TABLE counts (n positive, m positive)

INSERT INTO counts VALUES (DEFAULT, 2) RETURNING *

INSERT INTO counts VALUES (0, 1)

INSERT INTO counts VALUES (NULL, 1)

ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 100)

INSERT INTO counts VALUES (100, 1)

ALTER DOMAIN positive DROP CONSTRAINT small

INSERT INTO counts VALUES (100, 1) RETURNING n

CREATE TYPE address AS (street text, number int)

CREATE TABLE houses (id int, at address, all_at address[])

INSERT INTO houses VALUES (1, ROW('Main', 1), ARRAY[ROW('A', 2)::address, ROW('B', 3)::address]), (2, ('x', NULL), NULL) RETURNING *

SELECT (at).street, (at).number, all_at[2], (all_at[1]).street FROM houses ORDER BY id

ALTER TYPE address ADD ATTRIBUTE zip text

SELECT at FROM houses ORDER BY id

DROP TYPE address

CREATE TYPE span AS RANGE (subtype = float8)

CREATE TABLE spans (s span, m spanmultirange)

INSERT INTO spans VALUES ('[1.5,2.5)', '{[1,2),[3,4)}') RETURNING *, upper(s)

CREATE FUNCTION add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b'

SELECT add(1), add(1, 2), add(b => 5, a => 6)

CREATE OR REPLACE FUNCTION add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql IMMUTABLE RETURN a + b + 100

SELECT add(1) FROM feelings WHERE id = 1

CREATE FUNCTION add(text) RETURNS text LANGUAGE sql AS $$ SELECT $1 || 'added' $$

SELECT add('x'::text), id FROM feelings ORDER BY id

ALTER FUNCTION add(text) RENAME TO append

SELECT append('y')

DROP FUNCTION append

DROP FUNCTION append

DROP FUNCTION add

CREATE FUNCTION moods(t temper) RETURNS SETOF feelings LANGUAGE sql STABLE AS 'SELECT * FROM feelings WHERE mood = t'

SELECT * FROM moods('sad')

CREATE AGGREGATE product (float8) (SFUNC = float8mul, STYPE = float8, INITCOND = '1')

SELECT product(id) FROM feelings

CREATE OPERATOR ## (LEFTARG = int, RIGHTARG = int, FUNCTION = add)

SELECT 1 ## 2, id ## 3 FROM feelings ORDER BY id

CREATE PROCEDURE reset() LANGUAGE sql AS 'UPDATE feelings SET mood = ''ok'''

CALL reset()

SELECT DISTINCT mood FROM feelings

CREATE COLLATION byte_wise FROM "C"

SELECT * FROM (VALUES ('b'), ('A'), ('a'), ('B')) v(x) ORDER BY x COLLATE byte_wise

CREATE TABLE words (w text COLLATE byte_wise)

INSERT INTO words VALUES ('b'), ('A'), ('a')

SELECT * FROM words ORDER BY w

CREATE SEQUENCE numbers START 100 INCREMENT 5 MAXVALUE 110

SELECT nextval('numbers'), nextval('numbers')

SELECT last_value, is_called FROM numbers

CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple)

SELECT to_tsvector('plain', 'The quick quick fox') @@ to_tsquery('plain', 'fox')

CREATE TABLE documents (body text, tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED)

CREATE INDEX ON documents USING gin (tsv)

INSERT INTO documents VALUES ('cats are running'), ('dogs sleep')

SELECT body, ts_rank(tsv, q) > 0 FROM documents, to_tsquery('english', 'run & cat') q WHERE tsv @@ q

CREATE CAST (temper AS int) WITH FUNCTION add(int, int)

CREATE FUNCTION temper_number(temper) RETURNS int LANGUAGE sql AS $$ SELECT array_position(enum_range(NULL::temper), $1) $$

CREATE CAST (temper AS int) WITH FUNCTION temper_number(temper)

SELECT mood::int, id FROM feelings ORDER BY id

COMMENT ON TYPE temper IS 'how it feels'; COMMENT ON FUNCTION temper_number(temper) IS 'as a number'

SELECT obj_description('temper'::regtype, 'pg_type'), obj_description('temper_number'::regproc, 'pg_proc')

CREATE TABLE log (at int, what text)

CREATE RULE no_delete AS ON DELETE TO feelings DO INSTEAD INSERT INTO log VALUES (1, 'tried')

-- differs: an INSTEAD rule with another command is refused
DELETE FROM feelings

-- differs: an INSTEAD rule with another command is refused
SELECT * FROM log

DROP RULE no_delete ON feelings

CREATE VIEW happy AS SELECT * FROM feelings WHERE mood >= 'ok' WITH CHECK OPTION

SELECT * FROM happy ORDER BY id

DROP TYPE temper

DROP TYPE temper CASCADE

SELECT * FROM feelings ORDER BY id

SELECT * FROM happy

SELECT proname, pg_get_function_arguments(oid), pg_get_function_result(oid), prosrc FROM pg_proc WHERE pronamespace = 'ddl_objects'::regnamespace ORDER BY 1, 2

SELECT typname, typtype, typcategory FROM pg_type WHERE typnamespace = 'ddl_objects'::regnamespace ORDER BY 1

ALTER SCHEMA ddl_objects RENAME TO ddl_objects_2

SELECT count(*) FROM ddl_objects_2.feelings

SELECT count(*) FROM feelings

ALTER SCHEMA ddl_objects_2 RENAME TO ddl_objects

SELECT count(*) FROM feelings

COMMENT ON SCHEMA ddl_objects IS 'objects of all kinds'

SELECT obj_description('ddl_objects'::regnamespace)

CREATE ROLE ddl_objects_owner

ALTER SCHEMA ddl_objects OWNER TO ddl_objects_owner

ALTER TABLE feelings OWNER TO ddl_objects_owner

SELECT tableowner FROM pg_tables WHERE tablename = 'feelings' AND schemaname = 'ddl_objects'

REASSIGN OWNED BY ddl_objects_owner TO CURRENT_USER

DROP ROLE ddl_objects_owner

CREATE SCHEMA ddl_objects

CREATE SCHEMA IF NOT EXISTS ddl_objects

CREATE TABLE ddl_objects.moved (x int)

CREATE SCHEMA ddl_objects_plain

ALTER TABLE ddl_objects_plain.nothing SET SCHEMA ddl_objects

DROP SCHEMA ddl_objects_plain

DROP SCHEMA ddl_objects

DROP TABLE nothing, moved

DROP TABLE moved

DO $$ BEGIN CREATE TABLE made_in_do (x int); INSERT INTO made_in_do VALUES (5); EXECUTE 'CREATE TABLE made_in_execute AS SELECT x + 1 AS x FROM made_in_do'; END $$

SELECT * FROM made_in_do, made_in_execute

CREATE FUNCTION make_table(name text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('CREATE TABLE %I (x int)', name); END $$

-- differs: cannot execute DDL in a function that runs on a node
SELECT make_table('made by function')

-- differs: cannot execute DDL in a function that runs on a node
SELECT * FROM "made by function"

-- differs: cannot execute DDL in a function that runs on a node
SELECT make_table('made by function')

DO $$ BEGIN PERFORM 1; EXECUTE format('CREATE TABLE %I (x int)', 'made by DO'); END $$

SELECT * FROM "made by DO"
