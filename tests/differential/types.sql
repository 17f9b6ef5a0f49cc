CREATE TYPE color AS ENUM ('red', 'green', 'blue'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%')

CREATE TABLE numbers (s smallint, i int, l bigint, r real, d double precision, n numeric, n2 numeric(20, 5), m money, b boolean, o oid)

INSERT INTO numbers VALUES (-32768, 2147483647, -9223372036854775808, 1.1, 0.1, 12345678901234567890.123456789, 1.5, '12.34', true, 42), (0, 0, 0, 'NaN', 'Infinity', 'NaN', 0, '-1', false, 0), (NULL, NULL, NULL, '-0', '-Infinity', 1e-20, NULL, NULL, NULL, NULL)

SELECT * FROM numbers ORDER BY s

SELECT r + d, n / 3, l % 7, -i, s::text, n::int, d::numeric FROM numbers WHERE s < 0

SELECT sum(i), avg(i), sum(n), stddev(s), variance(l) FROM numbers WHERE s IS NOT NULL

CREATE TABLE texts (t text, v varchar(5), c char(5), n name, one "char", b bytea)

INSERT INTO texts VALUES ('plain', 'abcde', 'ab', 'ident', 'x', '\xdeadbeef'), ('', '', '', '', '', ''), (E'tab\there\nline \\ back " quote '' é 漢字 😀', 'é', 'é', 'é', 'a', E'\\000\\377'), (NULL, NULL, NULL, NULL, NULL, NULL)

SELECT * FROM texts ORDER BY t

SELECT length(t), octet_length(c), c || '|', encode(b, 'base64'), md5(b) FROM texts ORDER BY t

INSERT INTO texts (v) VALUES ('toolong')

INSERT INTO texts (v) VALUES ('spaces     ') RETURNING v

INSERT INTO texts (b) VALUES ('\xzz')

CREATE TABLE times (d date, t time, tz timetz, ts timestamp, tsz timestamptz, i interval)

INSERT INTO times VALUES ('2024-02-29', '23:59:59.123456', '12:00+02', '2024-01-01 00:00', '2024-01-01 00:00+00', '1 year 2 mons 3 days 04:05:06.789'), ('infinity', '24:00', '00:00-12', '-infinity', 'infinity', '-1 day'), ('4713-01-01 BC', '00:00', '00:00+00', '294276-12-31', '1900-01-01 00:00+00:19:32', '0')

SELECT * FROM times ORDER BY d

SELECT d + 1, t + interval '1 hour', ts - interval '1 month', tsz AT TIME ZONE 'Asia/Tokyo', age(ts, '2000-01-01'), date_trunc('month', tsz), extract(epoch FROM tsz), to_char(tsz, 'YYYY-MM-DD HH24:MI:SS TZ'), i * 2, justify_interval(i) FROM times WHERE d = '2024-02-29'

SET TIME ZONE 'America/New_York'

SELECT tsz, tsz::date, tsz::text FROM times ORDER BY d

SET DateStyle = 'German, DMY'

SELECT d, ts, tsz FROM times ORDER BY d

INSERT INTO times (d) VALUES ('31.12.2023') RETURNING d

SET IntervalStyle = 'iso_8601'

SELECT i FROM times ORDER BY i

RESET ALL

SELECT d, tsz, i FROM times ORDER BY d

SET extra_float_digits = 0

SELECT r, d FROM numbers ORDER BY s

SET bytea_output = 'escape'

SELECT b FROM texts ORDER BY t

RESET extra_float_digits

RESET bytea_output

SET lc_monetary = 'C'

SELECT m FROM numbers ORDER BY s

CREATE TABLE many (u uuid, j json, jb jsonb, x xml, ip inet, net cidr, mac macaddr, bits bit(4), vbits bit varying(8), p point, poly polygon, ts tsvector, q tsquery, ltr int4range, mr int8multirange, pg_lsn pg_lsn, c color, pr pair, e email, path jsonpath)

INSERT INTO many VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" : [1, 2.50, null]}', '{"b": {"c": [true, "x"]}, "a": 1e3}', '<a>1</a>', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', B'1010', B'11', '(1.5,2)', '((0,0),(1,1),(2,0))', 'a:1 b:2A', 'a & !b', '[1,10)', '{[1,2),[5,)}', '16/B374D848', 'green', (1, 'x'), 'a@b', '$.a[*]')

SELECT * FROM many

SELECT jb -> 'b' ->> 'c', jb #> '{b,c,0}', jb @> '{"a": 1000}', jb ? 'a', jsonb_path_query_array(jb, '$.b.c[*]'), j -> 'a' -> 1, jsonb_pretty(jb), jb || '{"z": null}' FROM many

UPDATE many SET jb = jsonb_set(jb, '{b,c,1}', '"y"'), jb['n'] = '5' RETURNING jb

UPDATE many SET jb['n'] = '5' RETURNING jb

SELECT key, value FROM many, jsonb_each(jb) ORDER BY key

SELECT ip << net, host(ip), masklen(net), lower(ltr), ltr @> 5, upper_inf(mr), p <-> '(0,0)', c > 'red', (pr).b, e FROM many

SELECT 'x'::color

SELECT 'no at'::email

INSERT INTO many (e) VALUES ('no at')

INSERT INTO many (u) VALUES ('not a uuid')

INSERT INTO many (j) VALUES ('{bad')

INSERT INTO many (ltr) VALUES ('[5,1)')

CREATE TABLE arrays (i int[], t text[][], c color[], p pair[], e email[], n numeric[3], ts timestamptz[], jb jsonb[])

INSERT INTO arrays VALUES ('{1,2,NULL}', '{{a,"b,c"},{"d\"e",NULL}}', '{red,blue}', ARRAY[(1, 'x')::pair, NULL], '{a@b}', '{1.5,2}', ARRAY['2024-01-01 00:00+00'::timestamptz], ARRAY['{"a":1}'::jsonb]), ('{}', NULL, '{}', '{}', '{}', '{}', '{}', '{}'), ('[0:1]={7,8}', NULL, NULL, NULL, NULL, NULL, NULL, NULL)

SELECT * FROM arrays ORDER BY i

SELECT i[1], i[2:3], t[1][2], array_length(i, 1), array_dims(t), cardinality(i), i || 9, 2 = ANY (i), array_to_string(i, ',', '*'), c[1] < c[2] FROM arrays ORDER BY i

SELECT unnest(c), unnest(p) FROM arrays ORDER BY 1

UPDATE arrays SET i[5] = 50, t = array_append(i, 3)::text[] WHERE i = '{}' RETURNING i, t

INSERT INTO arrays (i) VALUES ('{1,{2}}')

-- differs: an anonymous record with columns of user-defined types is refused in binary format
SELECT ROW(1, 'a', NULL), ROW(c, p) FROM arrays ORDER BY i LIMIT 1

SELECT NULL, NULL::color, NULL::pair, ARRAY[]::color[] FROM arrays LIMIT 1

SELECT 'red'::color, ARRAY['red'::color], (1, 'z')::pair, 'x@y'::email

SELECT c.*, pg_typeof(c) FROM (SELECT unnest(enum_range(NULL::color)) AS c) c ORDER BY 1

SELECT (pr).*, (many.pr).a FROM many

SELECT many FROM many

SELECT 'numbers'::regclass, 'color'::regtype, 'types'::regnamespace, 'lower(text)'::regprocedure, 'nothing'::regclass

SELECT 'many'::regclass, to_regclass('nothing'), 'pair'::regtype FROM many

SELECT x'ff'::int, 1::bit(8), '5'::"char", 1.0::float4::text, 1/3.0::float8 FROM many

SELECT xmlelement(name a, xmlattributes(1 AS b), 'c'), xpath('/a/text()', x) FROM many

SELECT to_tsvector('english', 'The fat cats'), ts_headline('fat cats', 'cat'::tsquery) FROM many

SELECT 1.10, 100::numeric(10,4), 1e100::numeric, '1e-7'::float8, 1e15::float8, 123456789.0::float4 FROM many

SELECT 2147483647 + 1 FROM many

SELECT 32767::smallint + 1::smallint, (-32768)::int2 FROM many

SELECT 32767::smallint + i::smallint FROM arrays, unnest(i) u(x) LIMIT 1

SELECT 100000::smallint + s FROM numbers

SELECT '2024-13-01'::date FROM many

SELECT date 'tomorrow' > date 'today', timestamp 'epoch' FROM many
