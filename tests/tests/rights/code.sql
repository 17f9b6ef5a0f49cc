-- All kinds of code that a tenant can create. All of them call one function that records in the server's log who runs it.
-- "@" is replaced by the schema.
CREATE FUNCTION @.tell(kind text) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    RAISE LOG '%', pg_catalog.concat('WHO', '<', kind, '|', current_user, '|', session_user, '|',
        (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user), '>');
END $$;
CREATE FUNCTION @.num(kind text, x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell(kind); RETURN x; END $$;
CREATE FUNCTION @.yes(kind text, x int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell(kind); RETURN true; END $$;
CREATE FUNCTION @.in_sql(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT @.num('sql function', x) $$;
CREATE FUNCTION @.fires() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM @.tell('trigger ' || TG_NAME); RETURN coalesce(NEW, OLD); END $$;

CREATE DOMAIN @.dom AS int CHECK (@.yes('domain', VALUE));
CREATE TYPE @.en AS ENUM ('one', 'two');
CREATE TYPE @.comp AS (a int, b text);
CREATE FUNCTION @.en_text(@.en) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell('cast of an enum'); RETURN enum_out($1); END $$;
CREATE CAST (@.en AS text) WITH FUNCTION @.en_text(@.en) AS ASSIGNMENT;
CREATE FUNCTION @.en_json(@.en) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell('cast of an enum to jsonb'); RETURN '1'; END $$;
CREATE CAST (@.en AS jsonb) WITH FUNCTION @.en_json(@.en) AS ASSIGNMENT;
CREATE FUNCTION @.comp_text(@.comp) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell('cast of a composite'); RETURN 'c'; END $$;
CREATE CAST (@.comp AS text) WITH FUNCTION @.comp_text(@.comp) AS ASSIGNMENT;
CREATE FUNCTION @.diff(int, int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell('subtype difference'); RETURN $1 - $2; END $$;
CREATE TYPE @.rng AS RANGE (subtype = int, subtype_diff = @.diff);
CREATE FUNCTION @.less(int, int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell('operator'); RETURN true; END $$;
CREATE OPERATOR @.<<< (leftarg = int, rightarg = int, function = @.less);
CREATE FUNCTION @.add_up(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell('aggregate'); RETURN $1 + $2; END $$;
CREATE AGGREGATE @.total(int) (sfunc = @.add_up, stype = int, initcond = '0');

CREATE SEQUENCE @.seq;
CREATE TABLE @.a (
    id bigserial PRIMARY KEY,
    x int NOT NULL CHECK (@.yes('check', x)) CHECK (x OPERATOR(@.<<<) 5),
    d int DEFAULT @.num('default', 1),
    g int GENERATED ALWAYS AS (@.num('generated column', x)) STORED,
    o @.dom, e @.en DEFAULT 'one', c @.comp DEFAULT ROW(1, 'b'), r @.rng DEFAULT '[1,5)',
    f int DEFAULT @.in_sql(1),
    CONSTRAINT constant CHECK (@.yes('constant check', 1)));
CREATE INDEX ON @.a (@.num('index', x));
CREATE INDEX ON @.a ((@.num('constant index', 1)));
CREATE INDEX ON @.a (x) WHERE @.yes('predicate', x);
CREATE INDEX ON @.a (x) WHERE @.yes('constant predicate', 1);
CREATE INDEX ON @.a USING gist (r);
CREATE STATISTICS @.st ON (@.num('statistics', x)), (@.num('constant statistics', 1)) FROM @.a;
CREATE FUNCTION @.row_text(@.a) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM @.tell('cast of a row'); RETURN 'r'; END $$;
CREATE CAST (@.a AS text) WITH FUNCTION @.row_text(@.a) AS ASSIGNMENT;
CREATE TABLE @.fired (x int, n int REFERENCES @.a ON DELETE CASCADE);
CREATE TABLE @.keyless (x int, g int GENERATED ALWAYS AS (@.num('generated column', x)) STORED, e @.en DEFAULT 'two');
CREATE UNLOGGED TABLE @.unlogged (x int CHECK (@.yes('check', x)));
CREATE TABLE @.guarded (id int PRIMARY KEY, x int);
ALTER TABLE @.guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON @.guarded USING (@.yes('policy', x)) WITH CHECK (@.yes('policy', x));
CREATE TABLE @.ruled (x int);
CREATE RULE r AS ON INSERT TO @.ruled DO ALSO SELECT @.num('rule', 1);
CREATE TABLE @.parted (id int, x int) PARTITION BY RANGE (@.num('partition key', x));
CREATE TABLE @.parted_1 PARTITION OF @.parted FOR VALUES FROM (0) TO (100);
CREATE TABLE @.parted_2 PARTITION OF @.parted DEFAULT;
CREATE VIEW @.v AS SELECT @.num('view', x) AS x, @.total(x) OVER () AS t FROM @.a;
CREATE VIEW @.numbered AS SELECT @.num('view with a sequence', x) AS x FROM @.a;
ALTER VIEW @.numbered ALTER COLUMN x SET DEFAULT nextval('@.seq');
CREATE MATERIALIZED VIEW @.m AS SELECT @.num('materialized view', x) AS x FROM @.a;
CREATE INDEX ON @.m (@.num('index of a materialized view', x));
INSERT INTO @.a (x, o) SELECT i, i FROM generate_series(1, 20) i;
INSERT INTO @.keyless SELECT i FROM generate_series(1, 20) i;
INSERT INTO @.unlogged SELECT i FROM generate_series(1, 20) i;
INSERT INTO @.guarded SELECT i, i FROM generate_series(1, 20) i;
INSERT INTO @.parted SELECT i, i * 10 FROM generate_series(1, 20) i;
