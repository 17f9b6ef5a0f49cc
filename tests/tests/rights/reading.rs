//! Reading rows runs no code of the domains that they contain, as on one server: it would run with the reader's privileges.

use helios_tests::{Cluster, refused, text};
use postgres::Client;

/// `ok` refuses to run as a superuser.
const TYPES: &str = "
    CREATE FUNCTION domains.ok(v int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
            RAISE EXCEPTION 'ran as superuser %', current_user;
        END IF;
        RETURN true;
    END $$;
    CREATE DOMAIN domains.d AS int CHECK (domains.ok(VALUE));
    CREATE DOMAIN domains.word AS varchar(5) CHECK (domains.ok(length(VALUE)));
    CREATE DOMAIN domains.place AS box CHECK (domains.ok(1));
    CREATE DOMAIN domains.list AS domains.d[] CHECK (domains.ok(cardinality(VALUE)));
    CREATE TYPE domains.pair AS (x domains.d, gone int, y text, l domains.d[]);
    ALTER TYPE domains.pair DROP ATTRIBUTE gone;
    CREATE TYPE domains.whole AS (p domains.pair, many domains.pair[], lists domains.list[], w domains.word);
    CREATE DOMAIN domains.checked AS domains.pair CHECK (domains.ok((VALUE).x));
    CREATE TYPE domains.span AS RANGE (subtype = domains.d);
    CREATE TABLE domains.t (
        id int, d domains.d, w domains.word, places domains.place[], ds domains.d[], list domains.list,
        lists domains.list[], p domains.pair, checked domains.checked, all_checked domains.checked[], whole domains.whole);
    INSERT INTO domains.t VALUES (1, 7, 'a b\"', '{(1,1),(0,0);(3,3),(2,2)}', '[2:4]={1,NULL,3}', '{4,5}', '{\"{6}\",\"{7,8}\",NULL}',
        '(9,\"x,y\",\"{1,2}\")', '(10,,)', '{\"(11,z,{3})\",NULL}',
        ROW(ROW(1, 'a(\"', '{5}')::domains.pair, ARRAY[ROW(2, NULL, '{}')::domains.pair, NULL], '{\"{1,2}\"}', 'w')::domains.whole);
    INSERT INTO domains.t (id) VALUES (2);
    CREATE TABLE domains.spans (id int, s domains.span);
    INSERT INTO domains.spans VALUES (1, '[1,3]')";

/// Creates the types and tables.
fn start() -> (&'static Cluster, Client) {
    let cluster = Cluster::shared();
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE domain_owner LOGIN; CREATE SCHEMA domains AUTHORIZATION domain_owner DISTRIBUTED",
        )
        .unwrap();
    let mut owner = cluster.connect_as("domain_owner");
    owner.batch_execute(TYPES).unwrap_or_else(|error| panic!("{error:?}"));
    (cluster, admin)
}

#[test]
fn checks_of_domains_do_not_run_when_rows_are_read() {
    let (cluster, mut admin) = start();
    let ran = admin.batch_execute("SELECT 1::domains.d").unwrap_err();
    assert!(format!("{ran:?}").contains("ran as superuser"), "the code does not run at once");

    let here = text(&mut admin, "SELECT t::text FROM domains.t t ORDER BY id");
    let there = text(
        &mut cluster.connect_as("domain_owner"),
        "SELECT t::text FROM domains.t t ORDER BY id",
    );
    assert_eq!(here, there);
    let columns = "t.id, d, w, places, ds, list, lists, p, checked, all_checked, whole";

    // Values have their own types and can be kept.
    let keep = format!("CREATE TABLE public.kept AS SELECT {columns} FROM domains.t");
    admin.batch_execute(&keep).unwrap();
    assert_eq!(text(&mut admin, "SELECT k::text FROM public.kept k ORDER BY id"), here);
    let inside = "SELECT d + 1, ds[4] + 1, (all_checked[1]).l[1] + 1, (whole).many[1].x + 1, (whole).lists[1]::text, pg_typeof(ds) \
        FROM public.kept WHERE id = 1";
    assert_eq!(text(&mut admin, inside), ["8|4|4|3|{1,2}|domains.d[]"]);
    let same = "SELECT whole = ROW(ROW(1, 'a(\"', '{5}')::domains.pair, (whole).many, (whole).lists, 'w') FROM public.kept WHERE id = 1";
    assert!(
        admin.simple_query(same).is_err(),
        "the literals are the administrator's own, and checked"
    );

    let block = "DO $$ DECLARE r record; BEGIN FOR r IN SELECT d, ds, p FROM domains.t LOOP PERFORM r.d; END LOOP; END $$";
    admin.batch_execute(block).unwrap();

    // Ranges over domains pass unchanged, or not at all.
    assert_eq!(text(&mut admin, "SELECT s FROM domains.spans"), ["[1,3]"]);
    let span = "CREATE TABLE public.span AS SELECT s FROM domains.spans";
    refused(&mut admin, span, "0A000", "domains.span");
}
