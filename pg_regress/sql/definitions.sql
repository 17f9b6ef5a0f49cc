-- All ordinary DDL in a distributed schema: shell and node keep the same definitions.
CREATE SCHEMA d DISTRIBUTED ON NODE "node-1";
SET search_path = d;
CREATE TYPE mood AS ENUM ('sad', 'glad');
ALTER TYPE mood ADD VALUE 'mad' BEFORE 'glad';
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE parent (
    id serial PRIMARY KEY,
    other int GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL DEFAULT 'nobody' UNIQUE,
    feeling mood DEFAULT 'glad',
    amount positive,
    loud text GENERATED ALWAYS AS (name || '!') STORED,
    p pair,
    CHECK (length(name) < 20));
CREATE TABLE child (id bigserial PRIMARY KEY, parent_id int NOT NULL REFERENCES parent ON DELETE CASCADE);
CREATE INDEX child_parent ON child (parent_id);
CREATE UNIQUE INDEX CONCURRENTLY child_both ON child (parent_id, id);
INSERT INTO parent (name, amount) VALUES ('one', 1), ('two', 2) RETURNING id, other, loud;
INSERT INTO child (parent_id) VALUES (1), (2), (2) RETURNING id;
INSERT INTO child (parent_id) VALUES (99);
INSERT INTO parent (name, amount) VALUES ('three', -1);
ALTER TABLE parent ADD COLUMN added date DEFAULT '2020-01-01', DROP COLUMN p;
ALTER TABLE parent RENAME COLUMN amount TO quantity;
ALTER TABLE child ADD CONSTRAINT again FOREIGN KEY (parent_id) REFERENCES parent (id);
ALTER TABLE child ADD CONSTRAINT low CHECK (id < 3);
ALTER TABLE child DROP CONSTRAINT again;
ALTER TABLE parent ALTER quantity TYPE bigint, ALTER name DROP DEFAULT;
SELECT id, name, feeling, quantity, added FROM parent ORDER BY id;
COMMENT ON TABLE parent IS 'the parent';
COMMENT ON COLUMN parent.name IS 'its name';
SELECT obj_description('parent'::regclass), col_description('parent'::regclass, 3);
CREATE VIEW pairs AS SELECT p.name, c.id FROM parent p JOIN child c ON c.parent_id = p.id;
CREATE OR REPLACE VIEW pairs AS SELECT p.name, c.id, p.quantity FROM parent p JOIN child c ON c.parent_id = p.id;
SELECT * FROM pairs ORDER BY id;
CREATE MATERIALIZED VIEW names AS SELECT name FROM parent;
INSERT INTO parent (name) VALUES ('later');
SELECT count(*) FROM names;
REFRESH MATERIALIZED VIEW names;
SELECT count(*) FROM names;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER loud BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION shout();
INSERT INTO parent (name) VALUES ('quiet') RETURNING name;
ALTER TABLE parent DISABLE TRIGGER loud;
INSERT INTO parent (name) VALUES ('quiet') RETURNING name;
DROP TRIGGER loud ON parent;
CREATE RULE keep AS ON DELETE TO parent DO INSTEAD NOTHING;
DELETE FROM parent;
DROP RULE keep ON parent;
CREATE TABLE events (id int, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_2 (LIKE events INCLUDING ALL);
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO events VALUES (1, '2020-05-05'), (2, '2021-05-05');
INSERT INTO events VALUES (3, '2030-05-05');
ALTER TABLE events DETACH PARTITION events_2 CONCURRENTLY;
SELECT count(*) FROM events;
CREATE TABLE older (extra int) INHERITS (parent);
ALTER TABLE older NO INHERIT parent;
CREATE SEQUENCE numbers START 10;
ALTER SEQUENCE numbers INCREMENT 5;
SELECT nextval('numbers'), nextval('numbers');
ALTER SEQUENCE numbers RESTART WITH 100;
SELECT nextval('numbers');
CREATE STATISTICS st ON id, name FROM parent;
CREATE COLLATION plain_c FROM "C";
CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int, initcond = '0');
SELECT total(id) FROM parent;
CREATE TABLE copied AS SELECT id, name FROM parent WHERE id < 3;
SELECT id INTO selected FROM parent WHERE id < 2;
CREATE TABLE IF NOT EXISTS copied AS SELECT 1 AS one;
SELECT count(*) FROM copied;
-- on both servers or on neither
BEGIN;
CREATE TABLE gone (a int);
INSERT INTO gone VALUES (1);
SAVEPOINT s;
ALTER TABLE gone ADD b int;
ROLLBACK TO s;
SELECT * FROM gone;
ROLLBACK;
SELECT * FROM gone;
CREATE TABLE gone (a int);
DO $$
BEGIN
    BEGIN
        CREATE TABLE half (a int);
        RAISE EXCEPTION 'stop';
    EXCEPTION WHEN raise_exception THEN
        CREATE TABLE whole (a int);
    END;
END $$;
INSERT INTO whole VALUES (1);
SELECT * FROM half;
-- an error on the node undoes the shell
ALTER TABLE copied ALTER id TYPE bigint USING 1 / (id - 1);
\d copied
CREATE UNIQUE INDEX broken ON child (parent_id);
SELECT count(*) FROM pg_class WHERE relname = 'broken';
-- row security
CREATE ROLE regress_d_reader;
GRANT USAGE ON SCHEMA d TO regress_d_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA d TO regress_d_reader;
ALTER TABLE child ENABLE ROW LEVEL SECURITY;
CREATE POLICY first ON child USING (id = 1);
SET ROLE regress_d_reader;
SELECT id FROM child;
INSERT INTO child (parent_id) VALUES (1);
RESET ROLE;
REVOKE SELECT ON ALL TABLES IN SCHEMA d FROM regress_d_reader;
SET ROLE regress_d_reader;
SELECT id FROM child;
RESET ROLE;
ALTER DEFAULT PRIVILEGES IN SCHEMA d GRANT SELECT ON TABLES TO regress_d_reader;
CREATE TABLE open_to_read AS SELECT 7 AS seven;
SET ROLE regress_d_reader;
SELECT * FROM open_to_read;
RESET ROLE;
-- the schema itself
COMMENT ON SCHEMA d IS 'definitions';
ALTER SCHEMA d RENAME TO "d 2";
SELECT helios_node_for_schema('d'), helios_node_for_schema('d 2');
SELECT count(*) FROM "d 2".child;
ALTER SCHEMA "d 2" OWNER TO regress_d_reader;
ALTER TABLE "d 2".child OWNER TO regress_d_reader;
RESET search_path;
\set VERBOSITY terse
DROP OWNED BY regress_d_reader CASCADE;
\set VERBOSITY default
SELECT helios_node_for_schema('d 2');
DROP ROLE regress_d_reader;
