CREATE TEMP TABLE t (i int PRIMARY KEY, n int, w text);
INSERT INTO t VALUES (9000, 9000, 'a');
CREATE TEMP TABLE kid (i int NOT NULL, n int, w text);
CREATE TEMP VIEW v AS SELECT 9000 AS i;
CREATE TEMP SEQUENCE s START 9000;
CREATE TYPE pg_temp.mood AS ENUM ('a', 'z');
CREATE TYPE pg_temp.comp AS (x int);
CREATE DOMAIN pg_temp.dom AS int;
