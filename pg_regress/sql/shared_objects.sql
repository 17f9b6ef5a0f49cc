-- Objects shared by tenants exist on every node.
CREATE SCHEMA s1 DISTRIBUTED ON NODE "node-1";
CREATE SCHEMA s2 DISTRIBUTED ON NODE "node-2";
CREATE SCHEMA s_plain CREATE TABLE local_only (id int);
CREATE TYPE s_plain.colour AS ENUM ('red');
ALTER TYPE s_plain.colour ADD VALUE 'green';
CREATE DOMAIN s_plain.short AS varchar(5);
CREATE FUNCTION s_plain.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION s_plain.about_here() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM s_plain.local_only';
CREATE FUNCTION s_plain.rows_here() RETURNS SETOF s_plain.local_only LANGUAGE sql AS 'SELECT * FROM s_plain.local_only';
ALTER FUNCTION s_plain.rows_here() STABLE;
COMMENT ON FUNCTION s_plain.rows_here() IS 'stays here';
DROP FUNCTION s_plain.rows_here();
CREATE TABLE s1.t (c s_plain.colour, s s_plain.short, n int DEFAULT s_plain.twice(21));
CREATE TABLE s2.t (c s_plain.colour, s s_plain.short, n int DEFAULT s_plain.twice(21));
INSERT INTO s1.t (c) VALUES ('green') RETURNING n;
INSERT INTO s2.t (c) VALUES ('red') RETURNING n;
INSERT INTO s2.t (s) VALUES ('too long');
CREATE OR REPLACE FUNCTION s_plain.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $1 + 1';
INSERT INTO s2.t (c) VALUES ('red') RETURNING n;
CREATE ROLE regress_s_role;
GRANT USAGE ON SCHEMA s1, s_plain TO regress_s_role;
GRANT USAGE ON SCHEMA s1 TO regress_s_role;
GRANT USAGE ON SCHEMA s_plain TO regress_s_role;
GRANT SELECT ON s1.t TO regress_s_role;
CREATE ROLE regress_s_member IN ROLE regress_s_role;
ALTER ROLE regress_s_member SET work_mem = '3MB';
COMMENT ON ROLE regress_s_member IS 'a member';
SET ROLE regress_s_member;
SELECT c FROM s1.t;
SELECT c FROM s2.t;
RESET ROLE;
REVOKE regress_s_role FROM regress_s_member;
SET ROLE regress_s_member;
SELECT c FROM s1.t;
RESET ROLE;
CREATE EXTENSION pg_trgm SCHEMA s_plain;
CREATE INDEX trgm ON s1.t USING gin ((s::text) s_plain.gin_trgm_ops);
ALTER EXTENSION pg_trgm SET SCHEMA public;
SELECT public.similarity(s::text, 'x') FROM s1.t LIMIT 0;
CREATE EXTENSION citext SCHEMA s2;
CREATE EXTENSION citext SCHEMA public;
CREATE TABLE s2.ci (a public.citext);
-- dropping a shared object affects the schemas
\set VERBOSITY terse
DROP TYPE s_plain.colour CASCADE;
\set VERBOSITY default
INSERT INTO s1.t (s) VALUES ('left') RETURNING *;
INSERT INTO s2.t (s) VALUES ('left') RETURNING *;
ALTER SCHEMA s_plain RENAME TO s_other;
INSERT INTO s1.t (s) VALUES ('more') RETURNING n;
REASSIGN OWNED BY regress_s_role TO CURRENT_USER;
DROP OWNED BY regress_s_role, regress_s_member;
DROP ROLE regress_s_member, regress_s_role;
\set VERBOSITY terse
DROP EXTENSION pg_trgm, citext CASCADE;
DROP SCHEMA s1, s2, s_other CASCADE;
\set VERBOSITY default
-- DDL run by an event trigger follows the statement that fired it
CREATE SCHEMA s3 DISTRIBUTED ON NODE "node-2";
CREATE FUNCTION s_secure() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' AND schema_name = 's3' LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN tenant text DEFAULT current_user', r.object_identity);
    END LOOP;
END $$;
CREATE EVENT TRIGGER s_secure ON ddl_command_end EXECUTE FUNCTION s_secure();
CREATE TABLE s3.t (id int);
DROP EVENT TRIGGER s_secure;
DROP FUNCTION s_secure();
INSERT INTO s3.t VALUES (1) RETURNING tenant IS NOT NULL AS filled;
\set VERBOSITY terse
DROP SCHEMA s3 CASCADE;
\set VERBOSITY default
-- objects created from a distributed table are on its node
CREATE SCHEMA s4 DISTRIBUTED ON NODE "node-1";
CREATE TYPE s4.celsius AS (degrees float8);
CREATE FUNCTION public.s_degrees(s4.celsius) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $1.degrees';
CREATE CAST (s4.celsius AS float8) WITH FUNCTION public.s_degrees(s4.celsius);
COMMENT ON CAST (s4.celsius AS float8) IS 'plain number';
CREATE TABLE s4.t (c s4.celsius);
INSERT INTO s4.t VALUES (ROW(21.5)) RETURNING c::float8;
DROP CAST (s4.celsius AS float8);
DROP FUNCTION public.s_degrees(s4.celsius);
\set VERBOSITY terse
DROP SCHEMA s4 CASCADE;
\set VERBOSITY default
