-- Statements across nodes are refused, with the object's name, and leave nothing behind.
CREATE SCHEMA b1 DISTRIBUTED ON NODE "node-1";
CREATE SCHEMA b1b DISTRIBUTED ON NODE "node-1";
CREATE SCHEMA b2 DISTRIBUTED ON NODE "node-2";
CREATE SCHEMA b_plain;
CREATE TABLE b1.t (id int PRIMARY KEY);
CREATE TABLE b2.t (id int PRIMARY KEY);
CREATE TABLE b_plain.t (id int PRIMARY KEY);
-- two schemas on the same node are no obstacle
CREATE TABLE b1b.t (id int REFERENCES b1.t);
CREATE VIEW b1b.v AS SELECT a.id FROM b1.t a JOIN b1b.t b USING (id);
ALTER TABLE b1b.t SET SCHEMA b1b;
CREATE TABLE b1.moves (a int);
ALTER TABLE b1.moves SET SCHEMA b1b;
INSERT INTO b1b.moves VALUES (1);
DROP TABLE b1b.moves, b1b.t CASCADE;
-- foreign keys
CREATE TABLE b1.f (id int REFERENCES b2.t);
CREATE TABLE b1.f (id int REFERENCES b_plain.t);
CREATE TABLE b_plain.f (id int REFERENCES b1.t);
ALTER TABLE b1.t ADD FOREIGN KEY (id) REFERENCES b2.t;
-- views, inheritance, LIKE
CREATE VIEW b1.v AS SELECT * FROM b_plain.t;
CREATE TABLE b1.c () INHERITS (b2.t);
CREATE TABLE b1.c (LIKE b2.t);
DROP TABLE b1.c;
CREATE TABLE b_plain.c () INHERITS (b1.t);
CREATE TABLE b_plain.c (LIKE b1.t);
-- several objects in one statement
BEGIN;
DROP TABLE b1.t, b2.t, b_plain.t;
ROLLBACK;
GRANT SELECT ON b1.t, b2.t TO PUBLIC;
GRANT SELECT ON b1.t, b_plain.t TO PUBLIC;
GRANT USAGE ON SCHEMA b1, b_plain TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA b1, b2 GRANT SELECT ON TABLES TO PUBLIC;
-- moving in and out
CREATE VIEW b1.seen AS SELECT id FROM b1.t;
ALTER TABLE b1.t SET SCHEMA b_plain;
ALTER TABLE b_plain.t SET SCHEMA b1;
DROP VIEW b1.seen;
CREATE TYPE b1.mood AS ENUM ('ok');
ALTER TYPE b1.mood SET SCHEMA b2;
DROP TYPE b1.mood;
CREATE FUNCTION b1.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION b1.f() SET SCHEMA b2;
SELECT b2.f();
DROP FUNCTION b2.f();
CREATE PUBLICATION b_pub FOR TABLE b1.t;
CREATE PUBLICATION b_pub FOR TABLES IN SCHEMA b1;
-- a function that runs on the node cannot change definitions behind the shells
CREATE FUNCTION b1.sneaks() RETURNS int LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE b1.sneaked (a int); RETURN 1; END $$;
CREATE FUNCTION b1.may() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE b_temp (a int) ON COMMIT DROP;
    CREATE INDEX ON b_temp (a);
    TRUNCATE b_temp;
    RETURN 1;
END $$;
INSERT INTO b1.t VALUES (b1.sneaks());
INSERT INTO b1.t VALUES (b1.may());
DELETE FROM b1.t;
DO $$ BEGIN CREATE TABLE b1.open (a int); END $$;
INSERT INTO b1.open VALUES (1);
DROP TABLE b1.open;
DROP FUNCTION b1.sneaks(), b1.may();
-- a schema that is not distributed cannot be undistributed
SELECT helios_undistribute_schema('b_plain');
DROP EXTENSION helios CASCADE;
SELECT count(*) FROM b1.t;
\set VERBOSITY terse
DROP SCHEMA b1, b1b, b2, b_plain CASCADE;
\set VERBOSITY default
SELECT schema FROM helios_schemas WHERE schema LIKE 'b%';
