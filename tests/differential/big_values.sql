CREATE TABLE t (id int PRIMARY KEY, v text, b bytea)

INSERT INTO t VALUES (1, repeat('x', 1000000), NULL) RETURNING length(v)

INSERT INTO t SELECT 2, string_agg(i::text, ','), decode(repeat('00ff', 100000), 'hex') FROM generate_series(1, 50000) i

SELECT id, length(v), md5(v), length(b), md5(b) FROM t ORDER BY id

SELECT v FROM t WHERE id = 2

SELECT b FROM t WHERE id = 2

SELECT i, repeat('y', i % 100) FROM t, generate_series(1, 5000) i WHERE id = 1

INSERT INTO t VALUES (3, '', ''), (4, NULL, NULL), (5, ' ', '\x00') RETURNING *

SELECT id, v IS NULL, v = '', coalesce(v, 'null') FROM t WHERE id > 2 ORDER BY id

SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, id FROM t ORDER BY id

SELECT array_agg(i), sum(i) FROM generate_series(1, 10000) i, t WHERE id = 1

SELECT jsonb_agg(i) FROM generate_series(1, 10000) i, t WHERE id = 1

DELETE FROM t WHERE id <= 2 RETURNING length(v)

BEGIN

INSERT INTO t SELECT i, repeat('z', 1000) FROM generate_series(100, 2000) i

DECLARE c CURSOR FOR SELECT id, v FROM t WHERE id >= 100 ORDER BY id

FETCH 500 FROM c

MOVE 1000 IN c

FETCH 500 FROM c

COMMIT

-- rows: 300
SELECT id, v FROM t WHERE id >= 100 ORDER BY id

COPY (SELECT id, v FROM t WHERE id >= 100 ORDER BY id) TO STDOUT

UPDATE t SET v = NULL WHERE id >= 100

SELECT count(*), count(v), count(DISTINCT coalesce(v, 'x')) FROM t
