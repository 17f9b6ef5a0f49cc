//! TLS: when it is used, which certificates are trusted, and that nothing else changes.

use std::io::{Read, Write};

use helios_tests::{BOUND, Event, Wire, wait_until};

use crate::{PASSWORD, Secured, assert_refused};

const SCRAM: &str = "hostssl all all all scram-sha-256";
const UNREACHABLE: &str = "08001";

#[test]
fn sslmode_says_whom_to_trust() {
    let secured = Secured::new(SCRAM, Some("server")).with_schema(&["sslmode=require"]);
    let [root, other, none, empty] = [
        secured.certificates.crt("root"),
        secured.certificates.crt("other"),
        secured.certificates.crt("missing"),
        secured.certificates.file("empty.crt", "no certificate\n", 0o644),
    ]
    .map(|path| format!("sslrootcert={}", path.display()));
    let session = |host: &str, options: &[&str]| {
        secured.reach(host, options);
        secured.session("admin")
    };
    let good: [(&str, &[&str]); 7] = [
        ("localhost", &[]),
        ("localhost", &["sslmode=prefer", &other]),
        ("127.0.0.1", &["sslmode=require"]),
        ("127.0.0.1", &["sslmode=require", &root]),
        ("127.0.0.1", &["sslmode=verify-ca", &root]),
        ("localhost", &["sslmode=verify-full", &root]),
        ("LOCALHOST", &["sslmode=verify-full", &root]),
    ];
    for (host, options) in good {
        assert_eq!(session(host, options).as_deref(), Ok("TLS"), "{host} {options:?}");
    }
    let bad: [(&str, &[&str], &str, &[&str]); 8] = [
        ("localhost", &["sslmode=disable"], UNREACHABLE, &["\"n\"", "pg_hba.conf"]),
        ("localhost", &["sslmode=require", &other], UNREACHABLE, &["\"n\"", "certificate"]),
        ("localhost", &["sslmode=verify-ca", &other], UNREACHABLE, &["\"n\"", "certificate"]),
        ("localhost", &["sslmode=verify-full", &other], UNREACHABLE, &["\"n\"", "certificate"]),
        ("127.0.0.1", &["sslmode=verify-full", &root], UNREACHABLE, &["\"n\"", "127.0.0.1"]),
        ("localhost", &["sslmode=verify-ca"], UNREACHABLE, &["\"n\"", "sslrootcert"]),
        ("localhost", &["sslmode=verify-ca", &none], UNREACHABLE, &["missing.crt"]),
        ("localhost", &["sslmode=verify-ca", &empty], UNREACHABLE, &["empty.crt"]),
    ];
    for (host, options, code, words) in bad {
        assert_refused(session(host, options), code, words);
    }
}

#[test]
fn node_is_added_over_tls() {
    let secured = Secured::new(SCRAM, Some("server"));
    let root = format!("sslrootcert={}", secured.certificates.crt("root").display());
    let other = format!("sslrootcert={}", secured.certificates.crt("other").display());
    let mut admin = secured.admin();
    assert_refused(
        secured.add(&mut admin, "localhost", &["sslmode=verify-full", &root]),
        UNREACHABLE,
        &["password", "\"admin\"", "helios.credential"],
    );
    secured.know("admin", PASSWORD);
    assert_refused(
        secured.add(&mut admin, "localhost", &["sslmode=verify-full", &other]),
        UNREACHABLE,
        &["certificate"],
    );
    assert_refused(secured.add(&mut admin, "localhost", &["sslmode=on"]), "22023", &["sslmode"]);
    assert_refused(secured.add(&mut admin, "localhost", &["password=x"]), "22023", &["password"]);
    secured.add(&mut admin, "localhost", &["sslmode=verify-full", &root]).unwrap();
}

#[test]
fn node_without_tls() {
    let secured = Secured::new("host all all all scram-sha-256", None).with_schema(&[]);
    assert_eq!(secured.session("admin").as_deref(), Ok("plain"));
    secured.reach("localhost", &["sslmode=require"]);
    assert_refused(secured.session("admin"), UNREACHABLE, &["does not support TLS", "sslmode"]);
}

#[test]
fn client_certificates() {
    let access = format!("hostssl all cert_user all cert\n{SCRAM}");
    let secured = Secured::new(&access, Some("server")).with_schema(&["sslmode=require"]);
    let certificates = &secured.certificates;
    certificates.self_signed("stranger", "/CN=cert_user", &[]);
    let wide = std::fs::read_to_string(certificates.key("client")).unwrap();
    certificates.file("wide.key", &wide, 0o644);
    let session = |crt: &str, key: &str| {
        let crt = format!("sslcert={}", certificates.crt(crt).display());
        let key = format!("sslkey={}", certificates.key(key).display());
        secured.reach("localhost", &["sslmode=require", &crt, &key]);
        secured.session("cert_user")
    };
    assert_eq!(session("client", "client").as_deref(), Ok("TLS /CN=cert_user"));
    // With a certificate, the password is still requested if pg_hba.conf says so.
    assert_eq!(secured.session("admin").as_deref(), Ok("TLS /CN=cert_user"));
    assert_refused(session("client", "server"), UNREACHABLE, &["client certificate"]);
    assert_refused(session("client", "wide"), UNREACHABLE, &["wide.key", "group or world access"]);
    assert_refused(session("client", "missing"), UNREACHABLE, &["missing.key"]);
    assert_refused(session("missing", "client"), UNREACHABLE, &["missing.crt"]);
    // The node closes the connection after the handshake: it does not know the authority.
    assert_refused(session("stranger", "stranger"), "08", &["\"n\""]);
    secured.reach("localhost", &["sslmode=require"]);
    assert_refused(secured.session("cert_user"), UNREACHABLE, &["certificate"]);
}

/// Certificates created as described in PostgreSQL's documentation: one that is its own authority and has
/// only a common name; and one signed by an authority, of version 1.
#[test]
fn certificates_as_the_manual_makes_them() {
    let secured = Secured::new(SCRAM, Some("server")).with_schema(&["sslmode=require"]);
    let certificates = &secured.certificates;
    certificates.self_signed("alone", "/CN=localhost", &[]);
    certificates.signed("version1", "/CN=localhost", None);
    let session = |host: &str, mode: &str, root: &str| {
        let root = format!("sslrootcert={}", certificates.crt(root).display());
        secured.reach(host, &[&format!("sslmode={mode}"), &root]);
        secured.session("admin")
    };
    secured.configure(SCRAM, Some("alone"));
    assert_eq!(session("localhost", "prefer", "root").as_deref(), Ok("TLS"));
    assert_eq!(session("127.0.0.1", "verify-ca", "alone").as_deref(), Ok("TLS"));
    assert_eq!(session("localhost", "verify-full", "alone").as_deref(), Ok("TLS"));
    assert_refused(session("127.0.0.1", "verify-full", "alone"), UNREACHABLE, &["127.0.0.1"]);
    assert_refused(session("localhost", "verify-ca", "root"), UNREACHABLE, &["certificate"]);
    secured.configure(SCRAM, Some("version1"));
    assert_eq!(session("localhost", "prefer", "root").as_deref(), Ok("TLS"));
    // It does not say what the certificate may be used for.
    assert_refused(session("localhost", "verify-ca", "root"), UNREACHABLE, &["version 1"]);
    // One with an elliptic curve, and one without a hash usable for channel binding.
    for (name, algorithm) in [("curve", "ec"), ("edwards", "ed25519")] {
        certificates.of_algorithm(name, "/CN=localhost", algorithm);
        secured.configure(SCRAM, Some(name));
        assert_eq!(session("localhost", "verify-full", name).as_deref(), Ok("TLS"), "{name}");
    }
}

#[test]
fn cancel_goes_over_tls() {
    let secured = Secured::new(SCRAM, Some("server"));
    let root = format!("sslrootcert={}", secured.certificates.crt("root").display());
    let secured = secured.with_schema(&["sslmode=verify-full", &root]);
    let parameters = [("user", "admin"), ("database", "helios")];
    let mut wire = Wire::connect_with(secured.cluster.coordinator(), &parameters).unwrap();
    for _ in 0..3 {
        wire.send_simple("SELECT pg_sleep(600) FROM s.t LIMIT 1").unwrap();
        let running = |wanted: bool| {
            wait_until(&format!("the node runs it: {wanted}"), BOUND, || {
                let query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
                             AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
                let found: i64 = secured.other.connect().query_one(query, &[]).unwrap().get(0);
                if (found > 0) == wanted { Ok(()) } else { Err(format!("{found} statements")) }
            });
        };
        running(true);
        wire.cancel(secured.cluster.coordinator()).unwrap();
        let events = wire.until_ready(None).unwrap();
        assert!(events.iter().any(|event| event.field('C') == Some("57014")), "{events:?}");
        running(false);
        // The session was not affected.
        let events = wire.simple("SELECT count(*) FROM s.t", None).unwrap();
        assert!(events.contains(&Event::Row(vec![Some(b"1000".to_vec())])), "{events:?}");
    }
}

#[test]
fn much_data_goes_both_ways() {
    let secured = Secured::new(SCRAM, Some("server")).with_schema(&["sslmode=require"]);
    let mut client = secured.admin();
    client.batch_execute("CREATE TABLE s.big (i int, v text)").unwrap();
    let line = format!("{}\n", "z".repeat(2000));
    let mut copy = client.copy_in("COPY s.big FROM STDIN").unwrap();
    for i in 0..20_000 {
        write!(copy, "{i}\t{line}").unwrap();
    }
    assert_eq!(copy.finish().unwrap(), 20_000);
    let mut data = Vec::new();
    client.copy_out("COPY s.big TO STDOUT").unwrap().read_to_end(&mut data).unwrap();
    assert_eq!(data.iter().filter(|byte| **byte == b'z').count(), 40_000_000);
    let rows = client.query("SELECT i, v FROM s.big ORDER BY i", &[]).unwrap();
    assert!(rows.iter().zip(0..).all(|(row, i)| row.get::<_, i32>(0) == i));
    // A value larger than any buffer, in both directions.
    let value = "ü".repeat(8_000_000);
    let sql = "INSERT INTO s.big VALUES (-1, $1) RETURNING v";
    assert_eq!(client.query_one(sql, &[&value]).unwrap().get::<_, String>(0), value);
}
