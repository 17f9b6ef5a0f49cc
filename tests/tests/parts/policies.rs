//! Row security, check options of views and collations mean in statements over several places what they mean on one server.

use helios_tests::{Cluster, refused, text};

#[test]
fn policies_and_checks_keep_their_meaning() {
    let cluster = Cluster::start(2);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE owner LOGIN; CREATE ROLE reader LOGIN; GRANT CREATE ON DATABASE helios TO owner; \
             CREATE TABLE public.here (id int PRIMARY KEY, s text); INSERT INTO public.here SELECT g, 'h' || g FROM generate_series(1, 4) g; \
             GRANT ALL ON public.here TO PUBLIC; \
             CREATE TABLE public.secrets (id int, who text); INSERT INTO public.secrets VALUES (1, 'owner'), (2, 'reader'); \
             ALTER TABLE public.secrets ENABLE ROW LEVEL SECURITY; GRANT SELECT ON public.secrets TO PUBLIC; \
             CREATE POLICY own ON public.secrets TO owner USING (who = 'owner')",
        )
        .unwrap();
    let mut owner = cluster.connect_as("owner");
    owner
        .batch_execute(
            "CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA plain; \
             GRANT USAGE ON SCHEMA one TO PUBLIC; GRANT USAGE ON SCHEMA plain TO PUBLIC; \
             CREATE TABLE one.allowed (id int); INSERT INTO one.allowed VALUES (1), (2), (14); GRANT SELECT ON one.allowed TO PUBLIC; \
             CREATE TABLE one.t (id int PRIMARY KEY, name text, who text DEFAULT 'reader'); \
             INSERT INTO one.t VALUES (1, 'a', 'reader'), (2, 'B', 'reader'), (3, 'D', 'owner'); \
             ALTER TABLE one.t ENABLE ROW LEVEL SECURITY; GRANT ALL ON one.t TO PUBLIC; \
             CREATE POLICY own ON one.t USING (who = current_user AND id IN (SELECT id FROM one.allowed)) \
                 WITH CHECK (who = current_user); \
             CREATE TABLE one.copy (id int, who text); GRANT ALL ON one.copy TO PUBLIC; \
             CREATE VIEW plain.secrets AS SELECT id, who FROM public.secrets; GRANT SELECT ON plain.secrets TO PUBLIC; \
             CREATE TABLE one.small (id int, v int); \
             CREATE VIEW one.small_checked AS SELECT * FROM one.small WHERE v < 100 WITH CHECK OPTION; \
             CREATE VIEW plain.small_checked AS SELECT * FROM one.small WHERE v < 100 WITH CHECK OPTION; \
             GRANT ALL ON one.small, one.small_checked TO PUBLIC; GRANT ALL ON plain.small_checked TO PUBLIC",
        )
        .unwrap();
    let mut reader = cluster.connect_as("reader");
    // A policy with a subquery, beside a table here that is locked or changed.
    let locked = "SELECT here.id FROM here JOIN one.t USING (id) ORDER BY 1 FOR UPDATE OF here";
    assert_eq!(text(&mut reader, locked), ["1", "2"]);
    let changed = "UPDATE here SET s = t.name FROM one.t t WHERE t.id = here.id RETURNING here.id";
    assert_eq!(text(&mut reader, changed), ["1", "2"]);
    assert_eq!(
        text(&mut reader, "SELECT id FROM here JOIN one.t USING (id) ORDER BY 1"),
        ["1", "2"]
    );
    let inserted = "INSERT INTO one.t (name, id) SELECT s, id + 10 FROM here WHERE id = 4 RETURNING id || name";
    assert_eq!(text(&mut reader, inserted), ["14h4"]);
    let other = reader
        .batch_execute("INSERT INTO one.t (id, who) SELECT id + 20, 'owner' FROM here")
        .unwrap_err();
    assert_eq!(other.code().map(|code| code.code()), Some("42501"), "{other:?}");
    // Row security for a view's owner.
    let shown = text(&mut admin, "SELECT id FROM plain.secrets");
    assert_eq!(shown, ["1"]);
    for sql in [
        "INSERT INTO one.copy SELECT * FROM plain.secrets",
        "UPDATE one.copy SET who = s.who FROM plain.secrets s WHERE s.id = copy.id",
        "WITH c AS (INSERT INTO one.copy SELECT * FROM plain.secrets RETURNING id) SELECT * FROM c JOIN here USING (id)",
    ] {
        refused(&mut admin, sql, "0A000", "");
    }
    assert_eq!(text(&mut admin, "SELECT count(*) FROM one.copy"), ["0"]);
    // Check options, in WITH as well.
    for view in ["one.small_checked", "plain.small_checked"] {
        for sql in [
            format!(
                "WITH i AS (INSERT INTO {view} SELECT id, 1000 FROM here RETURNING *) SELECT * FROM i"
            ),
            format!(
                "WITH i AS (INSERT INTO {view} SELECT id, 1000 FROM here RETURNING *) SELECT * FROM i JOIN here USING (id)"
            ),
            format!("WITH i AS (INSERT INTO {view} VALUES (1, 1000) RETURNING *) SELECT * FROM i"),
            format!("INSERT INTO {view} SELECT id, 1000 FROM here"),
        ] {
            let error = admin.batch_execute(&sql).expect_err(&sql);
            let code = error.code().map(|code| code.code().to_owned());
            assert!(matches!(code.as_deref(), Some("0A000" | "44000")), "{sql}: {error:?}");
        }
    }
    assert_eq!(text(&mut admin, "SELECT count(*) FROM one.small"), ["0"]);
    // Columns in another order, in WITH as well.
    let with = "WITH i AS (INSERT INTO one.small (v, id) SELECT id, id + 1000 FROM here RETURNING *) SELECT min(id) || ',' || min(v) FROM i";
    assert_eq!(text(&mut admin, with), ["1001,1"]);
    // Collations.
    let collated = "SELECT name FROM one.t JOIN here USING (id) WHERE name COLLATE \"und-x-icu\" < 'b' ORDER BY 1";
    assert_eq!(text(&mut admin, collated), ["a"]);
    let collated = "SELECT name FROM one.t JOIN here USING (id) WHERE name COLLATE \"C\" < 'b' COLLATE \"C\" ORDER BY name COLLATE \"C\"";
    assert_eq!(text(&mut admin, collated), ["B", "D", "a"]);
}

#[test]
fn columns_of_policies_need_no_privileges_of_the_reader() {
    let cluster = Cluster::start(2);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE reader LOGIN; CREATE TABLE public.here (id int, k int); \
             INSERT INTO public.here SELECT g, g FROM generate_series(1, 4) g; GRANT ALL ON public.here TO PUBLIC; \
             CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA two DISTRIBUTED ON NODE \"node-2\"; \
             GRANT USAGE ON SCHEMA one TO PUBLIC; GRANT USAGE ON SCHEMA two TO PUBLIC; \
             CREATE TABLE one.t (id int, own text); CREATE TABLE one.tree (id int, own text) PARTITION BY RANGE (id); \
             CREATE TABLE one.leaf PARTITION OF one.tree DEFAULT; \
             INSERT INTO one.t VALUES (1, 'reader'), (2, 'other'), (3, 'reader'); INSERT INTO one.tree TABLE one.t; \
             ALTER TABLE one.t ENABLE ROW LEVEL SECURITY; ALTER TABLE one.tree ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY own ON one.t USING (own = current_user); CREATE POLICY own ON one.tree USING (own = current_user); \
             GRANT SELECT (id) ON one.t, one.tree TO reader; \
             CREATE TABLE two.t (id int, k int); GRANT ALL ON two.t TO PUBLIC; INSERT INTO two.t SELECT g, g FROM generate_series(1, 4) g",
        )
        .unwrap();
    let mut reader = cluster.connect_as("reader");
    for table in ["one.t", "one.tree"] {
        for sql in [
            format!("SELECT t.id FROM {table} t ORDER BY 1"),
            format!("SELECT t.id FROM {table} t JOIN here USING (id) ORDER BY 1"),
            format!("SELECT t.id FROM {table} t JOIN two.t x USING (id) ORDER BY 1"),
            format!(
                "SELECT id FROM here WHERE id IN (SELECT id FROM {table} WHERE id < 100) ORDER BY 1"
            ),
            format!(
                "SELECT here.id FROM here JOIN {table} t USING (id) ORDER BY 1 FOR UPDATE OF here"
            ),
            format!(
                "WITH c AS (UPDATE here SET k = 0 FROM {table} t WHERE t.id = here.id RETURNING t.id) SELECT id FROM c ORDER BY 1"
            ),
            format!(
                "SELECT min(id) AS id FROM {table} UNION ALL SELECT max(t.id) FROM {table} t, here"
            ),
        ] {
            assert_eq!(text(&mut reader, &sql), ["1", "3"], "{sql}");
        }
        for sql in [
            format!("INSERT INTO two.t (id) SELECT t.id + 10 FROM {table} t"),
            format!(
                "INSERT INTO two.t (id) SELECT t.id + 10 FROM {table} t JOIN two.t x USING (id)"
            ),
            format!("UPDATE two.t x SET id = t.id + 10 FROM {table} t WHERE t.id = x.id"),
        ] {
            reader.batch_execute("BEGIN").unwrap();
            reader.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            let stored = text(&mut reader, "SELECT id FROM two.t WHERE id > 10 ORDER BY 1");
            assert_eq!(stored, ["11", "13"], "{sql}");
            reader.batch_execute("ROLLBACK").unwrap();
        }
        for sql in [
            format!("SELECT t FROM {table} t JOIN here USING (id)"),
            format!("SELECT t.own FROM {table} t JOIN here USING (id)"),
            format!("UPDATE here SET k = 0 FROM {table} t WHERE t.id = here.id RETURNING t"),
        ] {
            let error = reader.batch_execute(&sql).unwrap_err();
            assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{sql}: {error:?}");
        }
    }
}
