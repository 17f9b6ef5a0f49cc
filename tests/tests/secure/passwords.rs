//! Sources of passwords, and who can see them.

use helios_tests::{BOUND, wait_until};
use testkit::cluster::DATABASE;

use crate::{PASSWORD, Secured, assert_refused};

const UNREACHABLE: &str = "08001";

#[test]
fn passwords_of_the_catalog() {
    let secured = Secured::new("host all all all scram-sha-256", None).with_schema(&[]);
    assert_eq!(secured.session("admin").as_deref(), Ok("plain"));
    // None for this role; another role's is not used.
    let words = ["\"n\"", "\"app\"", "helios.credential", "helios.passfile"];
    assert_refused(secured.session("app"), UNREACHABLE, &words);
    secured.know("app", "wrong");
    assert_refused(secured.session("app"), UNREACHABLE, &["\"n\"", "password"]);
    // A row for the node takes precedence over one for all nodes.
    let mut postgres = secured.cluster.connect();
    let insert =
        "INSERT INTO helios.credential SELECT id, 'app', 'p' FROM helios.node WHERE name = 'n'";
    postgres.batch_execute(insert).unwrap();
    assert_eq!(secured.session("app").as_deref(), Ok("plain"));
    // Roles other than superusers see none of them, in any way.
    let mut app = secured.cluster.connect_as("app");
    for sql in [
        "SELECT * FROM helios.credential",
        "COPY helios.credential TO STDOUT",
        "SELECT password FROM helios.credential WHERE role = 'app'",
        "CREATE TEMP TABLE x (LIKE helios.credential); INSERT INTO x TABLE helios.credential",
        "UPDATE helios.credential SET password = 'mine'",
    ] {
        let error = app.batch_execute(sql).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
    let view = "CREATE TEMP VIEW w AS SELECT * FROM helios.credential; SELECT * FROM w";
    assert_eq!(app.batch_execute(view).unwrap_err().code().unwrap().code(), "42501");
}

#[test]
fn passwords_of_the_servers_password_file() {
    let secured = Secured::new("host all all all scram-sha-256", None).with_schema(&[]);
    let mut postgres = secured.cluster.connect();
    let path = secured.certificates.file("passfile", "", 0o600);
    let set = format!("ALTER SYSTEM SET helios.passfile = '{}'", path.display());
    postgres.batch_execute(&set).unwrap();
    postgres.batch_execute("SELECT pg_reload_conf()").unwrap();
    wait_until("new sessions have the setting", BOUND, || {
        let row = secured.cluster.connect().query_one("SHOW helios.passfile", &[]).unwrap();
        let now: String = row.get(0);
        if now == path.display().to_string() { Ok(()) } else { Err(now) }
    });
    let port = secured.node().port;
    let with = |line: &str, mode: u32| {
        secured.certificates.file("passfile", line, mode);
        secured.session("app")
    };
    let matching = format!("# a comment\nlocalhost:{port}:{DATABASE}:admin:x\n*:*:*:app:p\n");
    assert_refused(with("", 0o600), UNREACHABLE, &["\"app\"", "helios.passfile"]);
    assert_refused(with("*:*:*:app:wrong\n", 0o600), UNREACHABLE, &["password"]);
    assert_refused(with(&matching, 0o644), UNREACHABLE, &["group or world access"]);
    assert_eq!(with(&matching, 0o600).as_deref(), Ok("plain"));
    // The catalog takes precedence.
    assert_eq!(secured.session("admin").as_deref(), Ok("plain"));
    secured.know("app", "wrong");
    assert_refused(secured.session("app"), UNREACHABLE, &["password"]);
}

#[test]
fn older_kinds_of_passwords() {
    let access = "hostssl all all all password\nhostnossl all all all md5";
    let secured = Secured::new(access, Some("server")).with_schema(&[]);
    assert_eq!(secured.session("admin").as_deref(), Ok("TLS"), "in clear, inside TLS");
    let md5 = format!(
        "SET password_encryption = md5; ALTER ROLE admin PASSWORD '{}'",
        PASSWORD.replace('\'', "''")
    );
    secured.other.connect().batch_execute(&md5).unwrap();
    secured.reach("localhost", &["sslmode=disable"]);
    assert_eq!(secured.session("admin").as_deref(), Ok("plain"));
    // A clear-text password on an unencrypted connection.
    secured.configure("host all all all password", Some("server"));
    assert_refused(secured.session("admin"), UNREACHABLE, &["clear", "scram-sha-256"]);
}

/// Recovery and other background tasks reach such a node as well.
#[test]
fn background_work_has_the_password() {
    let access = "host all all all scram-sha-256";
    let secured = Secured::new(access, None).with_schema(&[]);
    let other = secured.other.connect();
    drop(other);
    let mut admin = secured.admin();
    // Written here and on the node: two phases.
    admin
        .batch_execute(
            "CREATE TABLE public.here (x int); BEGIN; INSERT INTO public.here VALUES (1); \
             INSERT INTO s.t VALUES (1001); COMMIT",
        )
        .unwrap();
    let rows: i64 = admin.query_one("SELECT count(*) FROM s.t", &[]).unwrap().get(0);
    assert_eq!(rows, 1001);
}
