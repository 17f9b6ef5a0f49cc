CREATE TABLE "Quoted Name" ("Id" int PRIMARY KEY, "select" text, "with""quote" text, "tab	x" int)

INSERT INTO "Quoted Name" VALUES (1, 's', 'q', 5) RETURNING *

SELECT "Id", "with""quote" FROM names."Quoted Name"

SELECT id FROM "Quoted Name"

SELECT * FROM quoted_name

CREATE TABLE "Größe_漢字_😀" ("Spalte_é" int)

INSERT INTO "Größe_漢字_😀" VALUES (7) RETURNING "Spalte_é"

SELECT "Größe_漢字_😀".* FROM "Größe_漢字_😀"

CREATE TABLE a23456789012345678901234567890123456789012345678901234567890123 (b23456789012345678901234567890123456789012345678901234567890123 serial PRIMARY KEY, x int CHECK (x > 0))

INSERT INTO a23456789012345678901234567890123456789012345678901234567890123 (x) VALUES (1) RETURNING *

INSERT INTO a23456789012345678901234567890123456789012345678901234567890123 (x) VALUES (0)

CREATE TABLE a234567890123456789012345678901234567890123456789012345678901234567 (x int)

CREATE TABLE c234567890123456789012345678901234567890123456789012345678901234567 (x int)

SELECT relname FROM pg_class WHERE relnamespace = 'names'::regnamespace ORDER BY relname

CREATE TABLE "user" ("order" int, "table" int, "group" text)

INSERT INTO "user" VALUES (1, 2, 'g')

SELECT "order", "table", "group" FROM "user" u WHERE u."order" = 1

CREATE TABLE lower_case (x int); INSERT INTO LOWER_CASE VALUES (1); SELECT X FROM Lower_Case

CREATE TABLE distributed (distributed int)

INSERT INTO distributed VALUES (1)

SELECT distributed FROM distributed

SELECT 1 AS distributed, 'DISTRIBUTED' FROM distributed distributed

SET search_path = public, names

SELECT count(*) FROM "user"

SET search_path = names, pg_catalog

SELECT count(*) FROM "user"

SET search_path = ''

SELECT count(*) FROM "user"

SELECT count(*) FROM names."user"

SET search_path = nowhere, names

SELECT count(*) FROM "user"

SHOW search_path

CREATE TABLE made_here (x int)

SELECT schemaname FROM pg_tables WHERE tablename = 'made_here'

RESET search_path

SHOW search_path

SELECT current_schemas(true)

CREATE TABLE pg_class (x int)

SELECT count(*) > 100 FROM pg_class

SELECT * FROM names.pg_class

BEGIN; SET LOCAL search_path = pg_catalog; SELECT count(*) FROM names.distributed; ROLLBACK; SELECT count(*) FROM distributed

CREATE FUNCTION lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$

SELECT lower('X') FROM distributed

SET search_path = names, pg_catalog

SELECT lower('X') FROM distributed

RESET search_path

ALTER TABLE "Quoted Name" RENAME TO "Other ""Name"""

SELECT "Id" FROM "Other ""Name"""

ALTER TABLE "Other ""Name""" RENAME COLUMN "select" TO "SELECT"

SELECT * FROM "Other ""Name"""

CREATE INDEX "Index Name" ON "Other ""Name""" ("Id")

DROP INDEX "Index Name"

COMMENT ON COLUMN "Other ""Name"""."Id" IS 'it''s a "comment"; with -- dashes'

SELECT col_description('"Other ""Name"""'::regclass, 1)

SELECT * FROM helios.names."user"

SELECT * FROM other_database.names."user"

CREATE TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (id int)

INSERT INTO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa VALUES (1)

SELECT aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.id AS bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb FROM aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa

UPDATE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa SET id = 2

DO $$ BEGIN EXECUTE 'DELETE FROM aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'; END $$

DROP TABLE aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
