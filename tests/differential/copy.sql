CREATE TYPE c_kind AS ENUM ('x', 'y'); CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, k c_kind, j jsonb)

-- copy: 1	one	1.5	x	{"a": 1}
-- copy: 2	\N	\N	\N	\N
-- copy: 3	tab\there\\	0	y	[]
COPY t FROM STDIN

COPY t TO STDOUT

COPY t (v, id) TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE (v), NULL 'nil')

COPY (SELECT id, v FROM t ORDER BY id DESC) TO STDOUT (DELIMITER '|')

COPY (SELECT 1, 'no table') TO STDOUT

-- copy: id,v
-- copy: 4,"quoted ""x"", y"
-- copy: 5,
-- copy: 6,""
COPY t (id, v) FROM STDIN (FORMAT csv, HEADER true)

-- copy: 10;ten
COPY t (id, v) FROM STDIN DELIMITER ';'

SELECT * FROM t ORDER BY id

-- copy: 1	dup	1	x	{}
COPY t FROM STDIN

-- copy: 20	a	1	x	{}
-- copy: x	a	1	x	{}
COPY t FROM STDIN

-- copy: 20	a	1	x
COPY t FROM STDIN

-- copy: 20	a	1	x	{}	more
COPY t FROM STDIN

-- copy: 20	a	1	z	{}
COPY t FROM STDIN

-- copy: 21
-- copy: 
COPY t (id) FROM STDIN

COPY t FROM STDIN

COPY t (nothing) FROM STDIN

COPY nothing FROM STDIN

COPY t (id, id) FROM STDIN

COPY t FROM STDIN (FORMAT nothing)

COPY nothing TO STDOUT

COPY (SELECT nothing FROM t) TO STDOUT

COPY (SELECT 1 / (id - 2) FROM t ORDER BY id) TO STDOUT

SELECT count(*) FROM t

CREATE TABLE b (i int, t text, f float8)

INSERT INTO b VALUES (1, 'é', 0.5), (NULL, NULL, NULL)

COPY b TO STDOUT (FORMAT binary)

-- copy-hex: 5047434F50590AFF0D0A00 00000000 00000000 0003 00000004 00000007 00000002 6869 00000008 3FF8000000000000 FFFF
COPY b FROM STDIN (FORMAT binary)

-- copy-hex: 00112233
COPY b FROM STDIN (FORMAT binary)

SELECT * FROM b ORDER BY i

COPY (INSERT INTO b VALUES (9, 'returned', 9) RETURNING i, t) TO STDOUT

COPY (DELETE FROM b WHERE i = 9 RETURNING *) TO STDOUT (FORMAT csv)

COPY (WITH x AS (SELECT * FROM b) SELECT count(*) FROM x) TO STDOUT

CREATE VIEW v AS SELECT id, v FROM t

COPY v TO STDOUT

COPY (SELECT * FROM v ORDER BY id LIMIT 1) TO STDOUT

BEGIN

-- copy: 50	in block
COPY t (id, v) FROM STDIN

SELECT count(*) FROM t

SAVEPOINT s

-- copy: 50	dup
COPY t (id, v) FROM STDIN

ROLLBACK TO s

COPY (SELECT count(*) FROM t) TO STDOUT

COMMIT

SELECT count(*) FROM t

COPY t (id, v) TO STDOUT; SELECT 1

CREATE TABLE defaults (id serial, v text DEFAULT 'dflt', g int GENERATED ALWAYS AS (length(v)) STORED)

-- copy: a
-- copy: bcd
COPY defaults (v) FROM STDIN

SELECT * FROM defaults ORDER BY id

COPY defaults TO STDOUT

-- copy: 1	x	5
COPY defaults (id, v, g) FROM STDIN

CREATE TABLE part (id int, at date) PARTITION BY RANGE (at)

CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')

-- copy: 1	2024-05-05
COPY part FROM STDIN

-- copy: 1	2030-05-05
COPY part FROM STDIN

COPY part TO STDOUT

COPY (SELECT * FROM part) TO STDOUT

COPY part_1 TO STDOUT

SET client_encoding = 'LATIN1'

-- copy-hex: 3730 09 E9 0A
COPY t (id, v) FROM STDIN

COPY (SELECT v FROM t WHERE id = 70) TO STDOUT

RESET client_encoding

SELECT v, length(v) FROM t WHERE id = 70

-- copy-hex: 3731 09 E9 0A
COPY t (id, v) FROM STDIN

-- copy: 72	where
-- copy: 99	not
COPY t (id, v) FROM STDIN WHERE id < 90

SELECT id FROM t WHERE id > 70 ORDER BY id

COPY t FROM '/nonexistent/file'

COPY t TO '/nonexistent/file'

CREATE TEMP TABLE local_rows (id int)

-- copy: 1
COPY local_rows FROM STDIN

COPY local_rows TO STDOUT

TRUNCATE b

-- copy: 1	x	1
COPY b FROM STDIN (FREEZE)

SET DateStyle = 'SQL, DMY'

COPY part TO STDOUT

-- copy: 9	31/12/2024
COPY part FROM STDIN

RESET DateStyle

SELECT * FROM part ORDER BY id
