-- Every statement that is refused names the objects, where they are, and what to type instead.
CREATE SCHEMA r1 DISTRIBUTED ON NODE "node-1";
CREATE SCHEMA r2 DISTRIBUTED ON NODE "node-2";
CREATE SCHEMA r_plain;
CREATE TABLE r1.t (id int PRIMARY KEY, x text);
CREATE TABLE r2.t (id int PRIMARY KEY, x text);
CREATE TABLE r_plain.t (id int PRIMARY KEY, x text);
CREATE TABLE r1.parted (id int) PARTITION BY LIST (id);
CREATE TABLE r_plain.parted (id int) PARTITION BY LIST (id);
CREATE SEQUENCE r_plain.s;
CREATE TYPE r2.mood AS ENUM ('good');
CREATE FUNCTION r2.changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE r_plain.ref (id int PRIMARY KEY, x text);
SELECT helios_create_reference_table('r_plain.ref');
-- definitions that refer to another node
CREATE TABLE r1.f (id int REFERENCES r2.t);
ALTER TABLE r1.t ADD FOREIGN KEY (id) REFERENCES r2.t;
CREATE TABLE r1.c () INHERITS (r2.t);
CREATE TABLE r2.p PARTITION OF r1.parted FOR VALUES IN (1);
CREATE VIEW r1.v AS SELECT * FROM r2.t;
CREATE TABLE r1.m (m r2.mood);
CREATE TRIGGER changed BEFORE INSERT ON r1.t FOR EACH ROW EXECUTE FUNCTION r2.changed();
CREATE FUNCTION r1.takes(m r2.mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
-- definitions that refer to the coordinator, and the other way round
CREATE TABLE r1.c () INHERITS (r_plain.t);
CREATE TABLE r1.p PARTITION OF r_plain.parted FOR VALUES IN (1);
CREATE VIEW r1.v AS SELECT * FROM r_plain.t;
CREATE TABLE r1.d (id int DEFAULT nextval('r_plain.s'));
CREATE TABLE r_plain.f (id int REFERENCES r1.t);
CREATE TABLE r_plain.c () INHERITS (r1.t);
CREATE TEMP TABLE r_temp (id int PRIMARY KEY);
CREATE VIEW r1.v AS SELECT * FROM r_temp;
-- what belongs to one server
CREATE PUBLICATION r_pub FOR TABLE r1.t;
SECURITY LABEL FOR helios ON TABLE r1.t IS 'distributed';
EXPLAIN ANALYZE CREATE TABLE r1.a AS SELECT * FROM r1.t;
PREPARE r_rows AS SELECT * FROM r1.t;
CREATE TABLE r1.a AS EXECUTE r_rows;
DEALLOCATE r_rows;
ALTER TABLE r_plain.ref ADD COLUMN y serial;
CREATE INDEX CONCURRENTLY ON r_plain.ref (x);
-- statements that write
UPDATE r1.t SET x = (pg_notify('news', x) IS NULL)::text;
UPDATE r1.t SET x = set_config('app.x', x, false);
UPDATE r1.t SET x = tableoid;
DO $$ DECLARE c CURSOR FOR SELECT * FROM r1.t; d CURSOR FOR SELECT * FROM r1.t; BEGIN OPEN c; OPEN d; WITH x AS (DELETE FROM r1.t WHERE CURRENT OF c) UPDATE r1.t SET x = 'x' WHERE CURRENT OF d; END $$;
-- code on a node
CREATE FUNCTION r1.defines() RETURNS int LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE r1.made (a int); RETURN 1; END $$;
INSERT INTO r1.t VALUES (r1.defines());
CREATE FUNCTION r1.writes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO r_plain.ref VALUES (1); RETURN 1; END $$;
INSERT INTO r1.t VALUES (r1.writes());
CREATE FUNCTION r1.reads() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM r_plain.t); END $$;
INSERT INTO r1.t VALUES (r1.reads());
-- moves
CREATE SCHEMA r1b DISTRIBUTED ON NODE "node-1";
CREATE TABLE r1b.f (id int REFERENCES r1.t);
SELECT helios_migrate_schema('r1b', 'node-2');
\set VERBOSITY terse
DROP SCHEMA r1, r1b, r2, r_plain CASCADE;
\set VERBOSITY default
DROP TABLE r_temp;
