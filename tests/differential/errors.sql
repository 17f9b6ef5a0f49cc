CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL, code text CONSTRAINT code_key UNIQUE, n int CONSTRAINT n_positive CHECK (n > 0)); CREATE TABLE child (id int PRIMARY KEY, parent int CONSTRAINT child_parent REFERENCES parent, v varchar(3))

INSERT INTO parent VALUES (1, 'one', 'a', 1), (2, 'two', 'b', 2); INSERT INTO child VALUES (1, 1, 'x')

INSERT INTO parent VALUES (1, 'again', 'c', 1)

INSERT INTO parent VALUES (3, 'x', 'a', 1)

INSERT INTO parent VALUES (3, NULL, 'c', 1)

INSERT INTO parent VALUES (3, 'x', 'c', 0)

INSERT INTO child VALUES (2, 99, 'x')

DELETE FROM parent WHERE id = 1

UPDATE parent SET id = 5 WHERE id = 1

INSERT INTO child VALUES (3, 1, 'toolong')

SELECT 1 / (id - 1) FROM parent

SELECT 1/0

SELEC 1

SELECT FROM WHERE

SELECT * FROM parent WHERE

SELECT nothing FROM parent

SELECT p.nothing FROM parent p

SELECT q.id FROM parent p

SELECT
  id,
  name,
     nothing_here
FROM parent

SELECT * FROM nothing

SELECT * FROM nowhere.nothing

SELECT * FROM errors.nothing

SELECT naem FROM parent

SELECT id FROM parent, child

SELECT nofunction(id) FROM parent

SELECT lower(id) FROM parent

SELECT id + 'x' FROM parent

SELECT id = 'x' FROM parent

SELECT name + 1 FROM parent

SELECT id, count(*) FROM parent

SELECT id FROM parent WHERE count(*) > 1

SELECT sum(count(*)) FROM parent

SELECT id FROM parent GROUP BY name

SELECT (SELECT id, name FROM parent)

SELECT id FROM parent UNION SELECT name FROM parent

SELECT id FROM parent UNION SELECT id, name FROM parent

SELECT id FROM parent ORDER BY 5

SELECT DISTINCT name FROM parent ORDER BY id

SELECT (SELECT id FROM parent)

SELECT name::int FROM parent

SELECT CAST(name AS integer) FROM parent WHERE id = 1

SELECT '1'::nothing FROM parent

SELECT id::nothing FROM parent

SELECT 'abc'::int

SELECT sqrt(-id) FROM parent

SELECT ln(0) FROM parent

SELECT repeat('x', 2000000000) || repeat('x', 2000000000) FROM parent

SELECT array[1,2][id:'x'] FROM parent

SELECT substring(name FROM 1 FOR -5) FROM parent

SELECT to_date('2024', 'nonsense YYYY MM'), to_timestamp('x', 'YYYY') FROM parent

SELECT name ~ '[' FROM parent

SELECT name LIKE 'x\' FROM parent

SELECT chr(0) FROM parent

SELECT json '{' FROM parent

SELECT jsonb_array_elements('{"a":1}'::jsonb) FROM parent

SELECT id FROM parent LIMIT -1

SELECT id FROM parent LIMIT 'x'

SELECT * FROM parent p JOIN child p ON true

SELECT * FROM parent JOIN child USING (nothing)

SELECT * FROM parent WHERE id IN (SELECT id, name FROM parent)

WITH RECURSIVE r AS (SELECT 1 UNION SELECT * FROM r, r r2) SELECT * FROM r

WITH x AS (SELECT 1), x AS (SELECT 2) SELECT * FROM x, parent

INSERT INTO parent (id, id) VALUES (1, 2)

INSERT INTO parent (nothing) VALUES (1)

INSERT INTO parent SELECT 1

INSERT INTO parent VALUES (1, 2, 3, 4, 5)

INSERT INTO nothing VALUES (1)

UPDATE parent SET name = 1, name = 2

UPDATE nothing SET x = 1

UPDATE parent SET id = id + 1 FROM parent

DELETE FROM parent p WHERE parent.id = 1

DELETE FROM nothing

INSERT INTO parent VALUES (9, 'x', 'y', 1) RETURNING nothing

CREATE TABLE parent (id int)

CREATE INDEX code_key ON parent (code)

CREATE INDEX bad ON parent (nothing)

CREATE UNIQUE INDEX bad ON child (nothing, v)

CREATE VIEW bad AS SELECT nothing FROM parent

DROP TABLE parent

DROP VIEW parent

DROP TABLE nothing

DROP FUNCTION nothing()

ALTER TABLE parent ADD PRIMARY KEY (code)

ALTER TABLE parent ALTER id TYPE boolean

ALTER TABLE parent ALTER name TYPE int

ALTER TABLE parent ALTER name TYPE int USING name::int

ALTER TABLE parent ADD CONSTRAINT odd CHECK (n = 1)

ALTER TABLE parent ADD CHECK (nothing = 1)

ALTER TABLE child ADD FOREIGN KEY (v) REFERENCES parent (id)

ALTER TABLE child ADD FOREIGN KEY (v) REFERENCES parent (name)

ALTER TABLE parent ADD COLUMN needed int NOT NULL

ALTER TABLE parent DROP CONSTRAINT nothing

TRUNCATE parent

CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT nothing FROM parent'

CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT name FROM parent'

CREATE FUNCTION bad() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN'

CREATE FUNCTION bad() RETURNS int LANGUAGE nothing AS 'x'

CREATE TRIGGER bad AFTER INSERT ON parent EXECUTE FUNCTION nothing()

CREATE SEQUENCE bad START 5 MAXVALUE 1

SELECT nextval('nothing')

SELECT currval('nothing') FROM parent

DO $$ BEGIN RAISE EXCEPTION 'custom %', 1 USING ERRCODE = 'HX001', DETAIL = 'the detail', HINT = 'the hint', COLUMN = 'c', TABLE = 't', SCHEMA = 's', CONSTRAINT = 'k', DATATYPE = 'd'; END $$

CREATE FUNCTION fail(x int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'failed for %', x USING ERRCODE = 'P0042', DETAIL = 'd', HINT = 'h'; END $$

SELECT fail(id) FROM parent ORDER BY id

INSERT INTO parent SELECT fail(1), 'x', 'y', 1

CREATE FUNCTION say(x int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'said %', x; RAISE WARNING 'warned %', x USING HINT = 'listen'; RAISE INFO 'info'; RAISE LOG 'log'; RAISE DEBUG 'debug'; RETURN x; END $$

SELECT say(id) FROM parent ORDER BY id

SET client_min_messages = 'debug1'

SELECT say(id) FROM parent WHERE id = 1

SET client_min_messages = 'error'

SELECT say(id) FROM parent WHERE id = 1

RESET client_min_messages

DO $$ BEGIN PERFORM 1 / (id - 1) FROM parent; END $$

DO $$ BEGIN PERFORM nothing FROM parent; END $$

DO $$ BEGIN INSERT INTO parent VALUES (1, 'dup', 'zz', 1); END $$

DO $$ BEGIN EXECUTE 'SELECT bad syntax here FROM'; END $$

PREPARE broken AS SELECT nothing FROM parent

EXECUTE nothing

SELECT * FROM parent WHERE id = 'é漢'::int

SELECT 'é漢字', nothing_after_wide FROM parent

SELECT 1; SELECT nothing FROM parent; SELECT 2

-- rows: 1
SELECT id FROM parent; SELECT 2

SELECT 1; SELECT 'é'; SELECT 1 / (id - 1) FROM parent

SET statement_timeout = '30ms'

SELECT pg_sleep(10) FROM parent

RESET statement_timeout

SELECT count(*) FROM parent

SET lock_timeout = '50ms'

-- session: other
BEGIN

-- session: other
LOCK TABLE parent IN ACCESS EXCLUSIVE MODE

SELECT * FROM parent

-- session: other
ROLLBACK

-- session: other
BEGIN; UPDATE parent SET n = n WHERE id = 1

UPDATE parent SET n = n WHERE id = 1

SELECT * FROM parent WHERE id = 1 FOR UPDATE NOWAIT

SELECT id FROM parent ORDER BY id FOR UPDATE SKIP LOCKED

-- session: other
ROLLBACK

RESET lock_timeout

SELECT * FROM parent ORDER BY id
