-- Unusual names, and roles without privileges.
CREATE SCHEMA "Odd.Name" DISTRIBUTED;
CREATE SCHEMA "sp ace ""quoted""" DISTRIBUTED;
CREATE SCHEMA "ünïcödé 漢字" DISTRIBUTED ON NODE "node-2";
CREATE SCHEMA n23456789012345678901234567890123456789012345678901234567890123 DISTRIBUTED;
CREATE TABLE "Odd.Name"."Table.1" ("Col ""x""" int PRIMARY KEY, "ß" text);
CREATE TABLE "ünïcödé 漢字"."表" ("列" text DEFAULT '値');
CREATE TABLE n23456789012345678901234567890123456789012345678901234567890123.t23456789012345678901234567890123456789012345678901234567890123 (a int);
INSERT INTO "Odd.Name"."Table.1" VALUES (1, 'x') RETURNING *;
INSERT INTO "ünïcödé 漢字"."表" DEFAULT VALUES RETURNING *;
ALTER SCHEMA "sp ace ""quoted""" RENAME TO "DISTRIBUTED";
DROP SCHEMA "DISTRIBUTED";
COMMENT ON COLUMN "ünïcödé 漢字"."表"."列" IS 'ça va'; ALTER TABLE "ünïcödé 漢字"."表" ADD CHECK ("列" <> 'nö'); INSERT INTO "ünïcödé 漢字"."表" VALUES ('nö');
-- names already in use
CREATE SCHEMA n_plain;
CREATE SCHEMA n_plain DISTRIBUTED;
CREATE SCHEMA "Odd.Name";
ALTER SCHEMA n_plain RENAME TO "Odd.Name";
ALTER SCHEMA "Odd.Name" RENAME TO n_plain;
CREATE SCHEMA pg_tenant DISTRIBUTED;
-- privileges
CREATE ROLE regress_n_nobody;
SET ROLE regress_n_nobody;
CREATE SCHEMA n_no DISTRIBUTED;
CREATE TABLE "Odd.Name".t (a int);
SELECT * FROM "Odd.Name"."Table.1";
DROP SCHEMA "Odd.Name" CASCADE;
ALTER SCHEMA "Odd.Name" RENAME TO mine;
SELECT helios_distribute_schema('n_plain');
SELECT helios_undistribute_schema('Odd.Name');
SELECT helios_add_node('mine', 'localhost');
SELECT helios_remove_node('node-1');
SELECT * FROM helios_check_cluster();
SELECT * FROM helios.credential;
INSERT INTO helios.schema VALUES ('x', 1);
UPDATE helios.shard SET node = 0;
SECURITY LABEL FOR helios ON SCHEMA "Odd.Name" IS NULL;
SELECT helios_node_for_schema('Odd.Name') IS NOT NULL AS may_ask;
RESET ROLE;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_n_nobody', current_database()) \gexec
SET ROLE regress_n_nobody;
CREATE SCHEMA n_mine DISTRIBUTED CREATE TABLE t (a int);
INSERT INTO n_mine.t VALUES (1) RETURNING a;
CREATE SCHEMA n_other AUTHORIZATION CURRENT_USER DISTRIBUTED;
DROP SCHEMA n_other;
RESET ROLE;
\set VERBOSITY terse
DROP OWNED BY regress_n_nobody CASCADE;
DROP ROLE regress_n_nobody;
DROP SCHEMA "Odd.Name", "ünïcödé 漢字", n23456789012345678901234567890123456789012345678901234567890123, n_plain CASCADE;
\set VERBOSITY default
