CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')

CREATE TEMP TABLE tmp (id int, w text)

INSERT INTO tmp VALUES (1, 'x') RETURNING *

SELECT * FROM tmp

UPDATE tmp SET w = 'y'

SELECT * FROM t ORDER BY id

CREATE TEMP TABLE t2 ON COMMIT DROP AS SELECT 1 AS x

SELECT * FROM t2

BEGIN; CREATE TEMP TABLE t3 (x int) ON COMMIT DELETE ROWS; INSERT INTO t3 VALUES (1); SELECT * FROM t3; SELECT count(*) FROM t; COMMIT

SELECT * FROM t3

CREATE TEMP SEQUENCE ts

SELECT nextval('ts')

CREATE TEMP VIEW tv AS SELECT * FROM tmp

SELECT * FROM tv

CREATE TEMP TABLE t (id text)

INSERT INTO t VALUES ('shadows')

SELECT * FROM t

SELECT * FROM temporary.t ORDER BY id

DROP TABLE t

SELECT * FROM t ORDER BY id

DROP TABLE tmp

DROP TABLE tmp CASCADE

BEGIN; CREATE TEMP TABLE tx (x int); INSERT INTO tx SELECT 5; INSERT INTO t VALUES (3, 'c'); ROLLBACK

SELECT count(*) FROM t

SELECT * FROM tx

DO $$ BEGIN CREATE TEMP TABLE in_do (x int); INSERT INTO in_do VALUES (1); INSERT INTO t VALUES (4, 'd'); RAISE NOTICE '% %', (SELECT count(*) FROM in_do), (SELECT count(*) FROM t); END $$

CREATE TEMP TABLE copied AS SELECT * FROM t

SELECT * FROM copied ORDER BY id

-- differs: statements that combine temporary tables with a node's tables are not supported
INSERT INTO t SELECT 100 + x, 'from temp' FROM in_do

-- differs: statements that combine temporary tables with a node's tables are not supported
SELECT * FROM t JOIN in_do ON true ORDER BY id

DISCARD TEMP

SELECT * FROM in_do
