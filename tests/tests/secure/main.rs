//! How Helios' sessions reach nodes without trust authentication: TLS, certificates, SCRAM, passwords. Each
//! wrong setting is a clear error, and no password is disclosed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod certificates;
mod encryption;
mod impostors;
mod passwords;

use helios_tests::Cluster;
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::command;
use testkit::server::{Server, Shutdown};

use certificates::Certificates;

/// The password of the role `admin` on the node.
const PASSWORD: &str = "it's \\ right: $1";

/// A coordinator with trust authentication, and a node that trusts only `postgres`, for the tests'
/// own connections. On both, `admin` is a superuser and `app` is not.
struct Secured {
    cluster: Cluster,
    other: Cluster,
    certificates: Certificates,
}

impl Secured {
    /// Starts the servers. `access` are lines for the node's `pg_hba.conf`; `tls` names its certificate.
    fn new(access: &str, tls: Option<&str>) -> Self {
        let (cluster, other) = (Cluster::start(0), Cluster::start(0));
        let certificates = Certificates::new(other.dir());
        let secured = Self { cluster, other, certificates };
        let literal = PASSWORD.replace('\'', "''");
        let roles = "CREATE ROLE admin SUPERUSER LOGIN; CREATE ROLE app LOGIN; \
                     CREATE ROLE cert_user SUPERUSER LOGIN;";
        let passwords =
            format!("ALTER ROLE admin PASSWORD '{literal}'; ALTER ROLE app PASSWORD 'p'");
        secured.cluster.connect().batch_execute(roles).unwrap();
        secured.other.connect().batch_execute(&format!("{roles} {passwords}")).unwrap();
        secured.configure(access, tls);
        secured
    }

    /// The server that will be a node.
    fn node(&self) -> &Server {
        self.other.coordinator()
    }

    /// Makes the node use this certificate and these `pg_hba.conf` lines.
    fn configure(&self, access: &str, tls: Option<&str>) {
        let mut settings = vec![format!("ssl = {}", if tls.is_some() { "on" } else { "off" })];
        if let Some(name) = tls {
            let files = [
                ("ssl_cert_file", self.certificates.crt(name)),
                ("ssl_key_file", self.certificates.key(name)),
                ("ssl_ca_file", self.certificates.crt("root")),
            ];
            settings.extend(files.iter().map(|(s, file)| format!("{s} = '{}'", file.display())));
        }
        let mut client = self.other.connect();
        for setting in settings {
            client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).unwrap();
        }
        let path = self.node().data.join("pg_hba.conf");
        let lines =
            format!("local all postgres trust\nhost all postgres 127.0.0.1/32 trust\n{access}\n");
        std::fs::write(&path, lines).unwrap();
        command::give_to_server_user(&path).unwrap();
        // Do not reload: only a restart takes effect synchronously.
        self.node().stop(Shutdown::Fast).unwrap();
        self.node().start().unwrap();
    }

    /// Adds the node as `n`, with this host and these options.
    fn add(&self, client: &mut Client, host: &str, options: &[&str]) -> Result<(), String> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let port = i32::from(self.node().port);
        let add = "SELECT helios_add_node('n', $1, $2, $3, 1, true, $4)";
        client.query(add, &[&host, &port, &DATABASE, &options]).map(drop).map_err(described)
    }

    /// Adds the node and a distributed schema `s` with a table `t` of 1,000 rows there.
    fn with_schema(self, options: &[&str]) -> Self {
        let mut admin = self.admin();
        self.know("admin", PASSWORD);
        self.add(&mut admin, "localhost", options).unwrap();
        let script = "CREATE SCHEMA s DISTRIBUTED ON NODE n; \
                      CREATE TABLE s.t AS SELECT generate_series(1, 1000) AS x; \
                      CREATE FUNCTION s.encryption() RETURNS text LANGUAGE sql STABLE AS \
                          $$SELECT CASE WHEN ssl THEN 'TLS' ELSE 'plain' END || coalesce(' ' || client_dn, '') \
                              FROM pg_stat_ssl WHERE pid = pg_backend_pid()$$; \
                      GRANT USAGE ON SCHEMA s TO app; GRANT SELECT ON s.t TO app";
        admin.batch_execute(script).unwrap();
        self
    }

    /// Stores a role's password for every node on the coordinator.
    fn know(&self, role: &str, password: &str) {
        let insert = "INSERT INTO helios.credential (role, password) VALUES ($1::text::name, $2)";
        self.cluster.connect().execute(insert, &[&role, &password]).unwrap();
    }

    /// Connects to the node with other options from now on.
    fn reach(&self, host: &str, options: &[&str]) {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let update =
            "UPDATE helios.node SET hosts = ARRAY[$1::text], options = $2 WHERE name = 'n'";
        self.cluster.connect().execute(update, &[&host, &options]).unwrap();
    }

    fn admin(&self) -> Client {
        self.cluster.connect_as("admin")
    }

    /// What a role's new session reports about its session on the node: `TLS` or `plain` and the
    /// subject of the client's certificate. On failure, SQLSTATE and the whole error.
    fn session(&self, role: &str) -> Result<String, String> {
        let query = "SELECT s.encryption() WHERE EXISTS (SELECT FROM s.t)";
        let mut client = self.cluster.connect_as(role);
        client.query_one(query, &[]).map(|row| row.get(0)).map_err(described)
    }
}

/// SQLSTATE, message, detail and hint.
fn described(error: postgres::Error) -> String {
    let error = error.as_db_error().expect("the coordinator's backend lives");
    let more = [error.detail(), error.hint()].map(Option::unwrap_or_default).join(" ");
    format!("{} {} {more}", error.code().code(), error.message())
}

/// Asserts that it failed with this SQLSTATE and all of these words, without disclosing a password.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, String>, code: &str, words: &[&str]) {
    let text = result.expect_err("it must be refused");
    assert!(text.starts_with(code), "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(!text.contains(PASSWORD), "the password is shown: {text}");
}
