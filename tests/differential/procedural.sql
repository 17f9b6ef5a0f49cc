-- Procedural code that runs here and accesses the tenant, like applications' own code.
CREATE TABLE t (id serial PRIMARY KEY, v text, n int DEFAULT 0); INSERT INTO t (v, n) SELECT 'v' || i, i FROM generate_series(1, 20) i

CREATE FUNCTION add1(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'

DO $$ DECLARE x int; BEGIN x := nextval('t_id_seq'); RAISE NOTICE '%', x; END $$

DO $$ DECLARE x int; s text := 't_id_seq'; BEGIN x := nextval(s); RAISE NOTICE '%', x; x := nextval(s::regclass); RAISE NOTICE '% %', x, currval(s); END $$

DO $$ DECLARE x int; BEGIN x := add1(4); IF add1(3) = 4 THEN RAISE NOTICE '% yes', x; END IF; WHILE add1(x) < 8 LOOP x := x + 1; END LOOP; RAISE NOTICE '%', x; END $$

DO $$ BEGIN IF (SELECT count(*) FROM t) > 1 THEN RAISE NOTICE 'many'; END IF; END $$

DO $$ DECLARE x int; BEGIN x := (SELECT max(n) FROM t) + 1; RAISE NOTICE '%', x; WHILE (SELECT count(*) FROM t) > 22 LOOP EXIT; END LOOP; RAISE NOTICE '%', (SELECT min(n) FROM t) + (SELECT max(n) FROM t); END $$

-- differs: an anonymous record from a node cannot be decoded
DO $$ DECLARE r record; BEGIN SELECT row(id, v) AS x, v INTO r FROM t WHERE id = 1; RAISE NOTICE '% %', r.x, r; END $$

DO $$ DECLARE r t; a t[]; BEGIN SELECT * INTO r FROM t WHERE id = 2; r.n := 99; a := ARRAY(SELECT t FROM t WHERE id < 3 ORDER BY id); RAISE NOTICE '% %', r, a; UPDATE t SET n = r.n WHERE id = r.id; INSERT INTO t SELECT r.id + 1000, r.v, r.n; END $$

SELECT * FROM t WHERE n = 99 ORDER BY id

CREATE FUNCTION up1(x int, a int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET n = a WHERE id = x; END $$; CREATE FUNCTION up2(a int, x int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET n = a WHERE id = x; END $$

SELECT up1(1, 15), up2(16, 2)

SELECT up1(3, 17), up2(18, 4), up1(5, 19)

SELECT id, n FROM t WHERE id <= 5 ORDER BY id

DO $$ BEGIN FOR i IN 1..8 LOOP PERFORM up1(i, i * 100); PERFORM up2(i * 100 + 1, i + 8); END LOOP; END $$

SELECT id, n FROM t WHERE id <= 16 ORDER BY id

DO $$ DECLARE c CURSOR FOR SELECT id FROM t ORDER BY id; r int; BEGIN OPEN c; BEGIN FETCH c INTO r; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'caught'; END; FETCH c INTO r; RAISE NOTICE '%', r; CLOSE c; END $$

DO $$ DECLARE r int; n int := 0; BEGIN FOR r IN SELECT id FROM t ORDER BY id LOOP BEGIN IF r % 7 = 0 THEN PERFORM 1 / (n - n) FROM t; END IF; n := n + r; EXCEPTION WHEN division_by_zero THEN n := n + 1; END; END LOOP; RAISE NOTICE '%', n; END $$

DO $$ DECLARE r record; BEGIN FOR r IN SELECT id, n FROM t WHERE id < 4 ORDER BY id LOOP UPDATE t SET n = r.n + 1 WHERE id = r.id; RAISE NOTICE '%', (SELECT n FROM t WHERE id = r.id); END LOOP; END $$

DO $$ DECLARE n int; BEGIN UPDATE t SET n = t.n WHERE t.id < 6; GET DIAGNOSTICS n = ROW_COUNT; RAISE NOTICE '%', n; DELETE FROM t WHERE id = 77777; GET DIAGNOSTICS n = ROW_COUNT; RAISE NOTICE '% %', n, FOUND; INSERT INTO t (v) VALUES ('x'), ('y'); GET DIAGNOSTICS n = ROW_COUNT; RAISE NOTICE '% %', n, FOUND; END $$

DO $$ DECLARE ids int[]; BEGIN WITH d AS (DELETE FROM t WHERE v IN ('x', 'y') RETURNING n) SELECT array_agg(n) INTO ids FROM d; RAISE NOTICE '%', ids; END $$

DO $$ DECLARE x int; BEGIN INSERT INTO t (v) VALUES ('r') RETURNING n INTO x; RAISE NOTICE '%', x; DELETE FROM t WHERE v = 'r' RETURNING n INTO STRICT x; RAISE NOTICE '%', x; END $$

DO $$ DECLARE tab text := 't'; x bigint; BEGIN EXECUTE format('SELECT count(*) FROM %I WHERE id < $1', tab) INTO x USING 5; RAISE NOTICE '%', x; EXECUTE 'UPDATE t SET v = v WHERE id = $1' USING 1; EXECUTE 'SELECT NULL::int FROM t LIMIT 1' INTO x; RAISE NOTICE '%', x; END $$

DO $$ BEGIN BEGIN INSERT INTO t VALUES (1, 'dup'); EXCEPTION WHEN unique_violation THEN RAISE NOTICE '% %', SQLSTATE, SQLERRM; END; BEGIN UPDATE t SET n = 5 WHERE id = 1; RAISE EXCEPTION 'undo'; EXCEPTION WHEN raise_exception THEN NULL; END; RAISE NOTICE '%', (SELECT n FROM t WHERE id = 1); END $$

DO $$ DECLARE d text; c text; BEGIN PERFORM 1 / (id - id) FROM t; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS d = RETURNED_SQLSTATE; RAISE NOTICE '%', d; END $$

BEGIN

SAVEPOINT a

EXPLAIN (ANALYZE, COSTS off) SELECT 1 / (id - id) FROM t

ROLLBACK TO a

SELECT count(*) FROM t WHERE id < 10

DO $$ BEGIN BEGIN EXECUTE 'EXPLAIN ANALYZE SELECT 1 / (id - id) FROM t'; EXCEPTION WHEN OTHERS THEN NULL; END; RAISE NOTICE '%', (SELECT count(*) FROM t WHERE id < 10); END $$

COMMIT

CREATE FUNCTION gen(k int) RETURNS SETOF int LANGUAGE plpgsql AS $$ DECLARE r int; BEGIN FOR r IN SELECT id FROM t WHERE id <= k ORDER BY id LOOP RETURN NEXT r * 10; END LOOP; RETURN QUERY SELECT id FROM t WHERE id = k; END $$

SELECT * FROM gen(3)

SELECT gen(2), 'x'

SELECT g, t.v FROM generate_series(1, 3) g JOIN t ON t.id = g ORDER BY g

SELECT t.id, g FROM t, LATERAL gen(t.id) g WHERE t.id < 3 ORDER BY 1, 2

CREATE FUNCTION recursive_total(k int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN IF k = 0 THEN RETURN 0; END IF; RETURN (SELECT id FROM t WHERE id = k) + recursive_total(k - 1); END $$

SELECT recursive_total(10)

CREATE FUNCTION shadow(id int) RETURNS text LANGUAGE plpgsql AS $$ #variable_conflict use_column
BEGIN RETURN (SELECT v FROM t WHERE id = shadow.id); END $$

SELECT shadow(4)

CREATE FUNCTION defaults(a int DEFAULT 5, b text DEFAULT (SELECT 'x')) RETURNS text LANGUAGE sql AS 'SELECT a || b'

CREATE FUNCTION defaults(a int DEFAULT 5, b text DEFAULT upper('x')) RETURNS text LANGUAGE sql AS 'SELECT a || b'

SELECT defaults(), defaults(1), defaults(b => 'q') FROM t LIMIT 1

CALL pg_temp.nothing()

DO LANGUAGE sql 'SELECT 1'

DO $$ BEGIN PERFORM set_config('app.k', id::text, true) FROM (SELECT 3 AS id) x; RAISE NOTICE '%', (SELECT current_setting('app.k') FROM t LIMIT 1); END $$

DO $$ BEGIN PERFORM pg_sleep(0), id FROM t LIMIT 1; PERFORM now() = transaction_timestamp(); RAISE NOTICE '%', clock_timestamp() >= now(); END $$

DO $$ BEGIN ASSERT (SELECT count(*) FROM t) > 1000, 'too few'; END $$

DO $$ DECLARE j jsonb := '{"id": 3}'; t0 timestamptz := '2024-01-01 00:00+00'; e text[] := '{a,b}'; BEGIN RAISE NOTICE '%', (SELECT jsonb_build_object('v', v, 'j', j, 't', t0, 'e', e) FROM t WHERE id = (j ->> 'id')::int); END $$
