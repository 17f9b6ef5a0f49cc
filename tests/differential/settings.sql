CREATE TABLE t (x int, at timestamptz); INSERT INTO t VALUES (1, '2024-06-01 12:00+00')

SET TimeZone = 'Europe/Berlin'

SELECT at, current_setting('TimeZone') FROM t

SET TIME ZONE 5

SELECT at FROM t

SET TIME ZONE INTERVAL '-08:30' HOUR TO MINUTE

SELECT at FROM t

SET TIME ZONE DEFAULT

SELECT at FROM t

SET DateStyle = 'SQL, DMY'

SELECT at FROM t

SHOW DateStyle

RESET DateStyle

SET app.tenant = 'x''y"z\'

SELECT current_setting('app.tenant'), x FROM t

RESET app.tenant

SELECT current_setting('app.tenant'), x FROM t

SELECT current_setting('app.other') FROM t

SELECT current_setting('app.other', true) IS NULL FROM t

SELECT set_config('app.third', 'v', false) FROM t

SELECT set_config('app.other', 'v', false)

SELECT current_setting('app.other')

SELECT current_setting('app.other') FROM t

SELECT set_config('app.other', 'local', true), current_setting('app.other')

SELECT set_config('app.other', 'local', true), current_setting('app.other'), (SELECT current_setting('app.other') FROM t)

SELECT current_setting('app.other') FROM t

BEGIN

SET LOCAL app.other = 'in block'

SELECT current_setting('app.other') FROM t

SAVEPOINT s

SET LOCAL app.other = 'in savepoint'

SELECT current_setting('app.other') FROM t

ROLLBACK TO s

SELECT current_setting('app.other') FROM t

SET app.other = 'kept'

SELECT current_setting('app.other') FROM t

ROLLBACK

SELECT current_setting('app.other') FROM t

BEGIN; SET app.other = 'committed'; COMMIT

SELECT current_setting('app.other') FROM t

SET work_mem = '5MB'

SELECT current_setting('work_mem'), x FROM t

SET work_mem = 'x'

SET nothing = 1

SET work_mem = '1kB'

SELECT current_setting('work_mem'), x FROM t

RESET work_mem

SELECT current_setting('work_mem'), x FROM t

SET enable_seqscan = off

SELECT current_setting('enable_seqscan'), x FROM t

SET default_text_search_config = 'german'

SELECT to_tsvector('Häuser'), x FROM t

SET standard_conforming_strings = off

SELECT 'a\tb', x FROM t

SET standard_conforming_strings = on

SELECT 'a\tb', x FROM t

SET xmlbinary = 'hex'

SELECT xmlelement(name x, '\xff'::bytea), x FROM t

SET IntervalStyle = 'sql_standard'

SELECT interval '1 day 2 hours', x FROM t

SET statement_timeout = '10s'

-- differs: statement_timeout is not forwarded, but takes effect here and cancels the node's statement as well
SELECT current_setting('statement_timeout'), x FROM t

SET transform_null_equals = on

SELECT x = NULL FROM t

RESET ALL

SELECT current_setting('enable_seqscan'), current_setting('TimeZone'), current_setting('app.other', true) FROM t

SET client_encoding = 'LATIN1'

SELECT 'é', x FROM t

SELECT '漢', x FROM t

SELECT U&'\6F22', x FROM t

RESET client_encoding

SELECT 'é', x FROM t

SET application_name = 'my application'

SELECT current_setting('application_name'), x FROM t

SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY

INSERT INTO t VALUES (2)

SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE

INSERT INTO t VALUES (2) RETURNING x

SHOW transaction_isolation

SET shared_buffers = '1GB'

SET log_statement = 'all'

SELECT current_setting('log_statement'), count(*) FROM t

ALTER ROLE postgres SET app.from_role = 'r'

ALTER ROLE postgres RESET app.from_role

UPDATE pg_settings SET setting = '7000' WHERE name = 'work_mem'

SELECT current_setting('work_mem'), count(*) FROM t

DISCARD ALL

SELECT current_setting('work_mem'), count(*) FROM settings.t

SET session_replication_role = replica

SELECT current_setting('session_replication_role'), count(*) FROM settings.t

RESET session_replication_role

SET search_path = settings

SET extra_float_digits = -5

SELECT 0.1::float8 + x FROM t ORDER BY x

SET geqo = off; SELECT current_setting('geqo'), count(*) FROM t; RESET geqo; SELECT current_setting('geqo'), count(*) FROM t
