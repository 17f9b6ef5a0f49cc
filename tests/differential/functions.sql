CREATE TABLE acc (id int PRIMARY KEY, owner text, balance int CHECK (balance >= 0)); INSERT INTO acc VALUES (1, 'a', 100), (2, 'b', 200), (3, 'c', 300)

CREATE FUNCTION balance_of(who text) RETURNS int LANGUAGE sql STABLE AS $$ SELECT balance FROM acc WHERE owner = who $$

SELECT balance_of('a'), balance_of('nobody')

SELECT owner, balance_of(owner) FROM acc ORDER BY id

CREATE FUNCTION transfer(a int, b int, amount int) RETURNS int LANGUAGE plpgsql AS $$ DECLARE left_over int; BEGIN UPDATE acc SET balance = balance - amount WHERE id = a RETURNING balance INTO STRICT left_over; UPDATE acc SET balance = balance + amount WHERE id = b; IF NOT FOUND THEN RAISE EXCEPTION 'no account %', b; END IF; RETURN left_over; END $$

SELECT transfer(1, 2, 30)

SELECT transfer(1, 2, 3000)

SELECT transfer(1, 99, 1)

SELECT transfer(98, 99, 1)

SELECT * FROM acc ORDER BY id

CREATE FUNCTION rich(min int) RETURNS SETOF acc LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT * FROM acc WHERE balance >= min ORDER BY id; RETURN NEXT (0, 'total', (SELECT sum(balance) FROM acc)); END $$

SELECT * FROM rich(200)

SELECT owner, count(*) FROM rich(0) GROUP BY owner ORDER BY owner

CREATE FUNCTION pairs() RETURNS TABLE (a int, b text) LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM acc ORDER BY id LOOP a := r.id; b := r.owner || r.balance; RETURN NEXT; END LOOP; END $$

SELECT * FROM pairs()

CREATE FUNCTION dynamic(tab text, col text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE format('SELECT %I::text FROM %I ORDER BY 1', col, tab); END $$

SELECT * FROM dynamic('acc', 'owner')

SELECT * FROM dynamic('nothing', 'owner')

CREATE FUNCTION with_using(k int) RETURNS text LANGUAGE plpgsql AS $$ DECLARE s text; n int; BEGIN EXECUTE 'SELECT owner FROM acc WHERE id = $1' INTO s USING k; GET DIAGNOSTICS n = ROW_COUNT; RETURN s || n; END $$

SELECT with_using(2)

CREATE FUNCTION careful(k int) RETURNS text LANGUAGE plpgsql AS $$ DECLARE s text; d text; c text; BEGIN INSERT INTO acc VALUES (k, 'new', 1); RETURN 'inserted'; EXCEPTION WHEN unique_violation THEN GET STACKED DIAGNOSTICS s = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, c = CONSTRAINT_NAME; RETURN SQLSTATE || s || d || c; WHEN others THEN RETURN 'other ' || SQLERRM; END $$

SELECT careful(1)

SELECT careful(50)

SELECT careful(50)

SELECT careful(NULL)

DO $$ DECLARE n int := 0; BEGIN FOR i IN 1..5 LOOP BEGIN INSERT INTO acc VALUES (i, 'loop', i); n := n + 1; EXCEPTION WHEN unique_violation THEN RAISE NOTICE 'already %', i; END; END LOOP; RAISE NOTICE '% inserted', n; END $$

SELECT id FROM acc ORDER BY id

DO $$ BEGIN UPDATE acc SET balance = 5 WHERE id = 5; IF FOUND THEN RAISE NOTICE 'found'; END IF; PERFORM * FROM acc WHERE id = 77; IF NOT FOUND THEN RAISE NOTICE 'not found'; END IF; END $$

DO $$ DECLARE r acc%ROWTYPE; x acc.owner%TYPE; a int[]; BEGIN SELECT * INTO r FROM acc WHERE id = 2; x := r.owner; a := ARRAY(SELECT id FROM acc ORDER BY id); FOREACH r.id IN ARRAY a LOOP NULL; END LOOP; RAISE NOTICE '% % %', x, a, r; END $$

DO $$ DECLARE x int; BEGIN SELECT id INTO STRICT x FROM acc; END $$

DO $$ DECLARE x int; BEGIN SELECT id INTO STRICT x FROM acc WHERE id = 1000; END $$

DO $$ BEGIN SELECT 1; END $$

DO $$ <<outer>> DECLARE id int := 1; BEGIN PERFORM * FROM acc WHERE acc.id = outer.id; RAISE NOTICE '%', FOUND; END $$

DO $$ DECLARE id int := 1; BEGIN PERFORM * FROM acc WHERE id = id; END $$

CREATE FUNCTION fib(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF n < 2 THEN RETURN n; END IF; RETURN fib(n - 1) + fib(n - 2); END $$

SELECT fib(12), fib(id) FROM acc WHERE id < 4 ORDER BY id

CREATE PROCEDURE pay(who int, INOUT amount int) LANGUAGE plpgsql AS $$ BEGIN UPDATE acc SET balance = balance + amount WHERE id = who RETURNING balance INTO amount; END $$

CALL pay(1, 5)

CALL pay(1, NULL)

CALL pay(1)

CREATE PROCEDURE steps() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO acc VALUES (60, 'x', 1); COMMIT; INSERT INTO acc VALUES (61, 'x', 1); ROLLBACK; INSERT INTO acc VALUES (62, 'x', 1); END $$

CALL steps()

SELECT id FROM acc WHERE id >= 60 ORDER BY id

BEGIN

CALL steps()

ROLLBACK

DO $$ BEGIN FOR i IN 70..72 LOOP INSERT INTO acc VALUES (i, 'do', i); COMMIT; END LOOP; END $$

SELECT id FROM acc WHERE id >= 70 ORDER BY id

CREATE FUNCTION poly(anyelement) RETURNS anyarray LANGUAGE sql AS 'SELECT ARRAY[$1, $1]'

SELECT poly(id), poly(owner) FROM acc ORDER BY id LIMIT 1

CREATE FUNCTION va(VARIADIC int[]) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM acc WHERE id = ANY ($1)'

SELECT va(1, 2, 99), va(VARIADIC ARRAY[3])

CREATE FUNCTION outs(OUT n bigint, OUT m int) LANGUAGE sql AS 'SELECT count(*), max(balance) FROM acc'

SELECT * FROM outs()

SELECT outs()

CREATE FUNCTION row_fn() RETURNS acc LANGUAGE sql AS 'SELECT * FROM acc WHERE id = 1'

SELECT (row_fn()).*, row_fn()

CREATE FUNCTION several(k int) RETURNS void LANGUAGE sql AS $$ INSERT INTO acc VALUES (k, 's', 1); UPDATE acc SET balance = 2 WHERE id = k; DELETE FROM acc WHERE id = k + 1; $$

SELECT several(80)

SELECT * FROM acc WHERE id = 80

CREATE FUNCTION atomic_body(k int) RETURNS int BEGIN ATOMIC UPDATE acc SET balance = balance + 1 WHERE id = k; SELECT balance FROM acc WHERE id = k; END

SELECT atomic_body(80)

SELECT owner, length(owner), upper(owner) FROM acc WHERE balance_of(owner) > 100 ORDER BY id

SELECT acc.*, rich.balance FROM acc, rich(0) WHERE rich.id = acc.id ORDER BY acc.id LIMIT 2

CREATE FUNCTION trace() RETURNS text LANGUAGE plpgsql AS $$ DECLARE c text; BEGIN GET DIAGNOSTICS c = PG_CONTEXT; RETURN c; END $$

SELECT trace() FROM acc WHERE id = 1

CREATE FUNCTION inner_fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT 1 / (balance - balance) FROM acc LIMIT 1); END $$; CREATE FUNCTION outer_fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN inner_fail(); END $$

SELECT outer_fail()

CREATE FUNCTION local_path() RETURNS text LANGUAGE sql SET search_path = functions, pg_temp SET work_mem = '3MB' AS $$ SELECT current_setting('search_path') || current_setting('work_mem') || (SELECT count(*) FROM acc WHERE id = 1) $$

SELECT local_path(), current_setting('work_mem')

CREATE FUNCTION set_inside() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.user', 'inside', true); RETURN (SELECT current_setting('app.user') FROM acc WHERE id = 1); END $$

SELECT set_inside()

DO $$ BEGIN SET LOCAL TimeZone = 'Asia/Tokyo'; RAISE NOTICE '%', (SELECT '2024-01-01 00:00+00'::timestamptz::text FROM acc WHERE id = 1); END $$

SELECT '2024-01-01 00:00+00'::timestamptz FROM acc WHERE id = 1

DO $$ DECLARE total int := 0; r record; BEGIN FOR r IN EXECUTE 'SELECT balance FROM acc WHERE id < $1 ORDER BY id' USING 4 LOOP total := total + r.balance; END LOOP; RAISE NOTICE 'total %', total; END $$

DO $$ DECLARE r record; BEGIN FOR r IN UPDATE acc SET balance = balance + 1 WHERE id = 2 RETURNING * LOOP RAISE NOTICE '%', r; END LOOP; END $$

DO $$ DECLARE k int := 2; t text := 'a'; n acc[]; BEGIN n := (SELECT array_agg(a ORDER BY id) FROM acc a WHERE id <= k OR owner = t); RAISE NOTICE '%', n; END $$

DO $$ DECLARE k int := 1; BEGIN RAISE NOTICE '%', (SELECT string_agg(x.owner, ',') FROM (SELECT owner FROM acc WHERE id > k ORDER BY id LIMIT k) x); END $$

DROP FUNCTION fib

SELECT fib(1)
