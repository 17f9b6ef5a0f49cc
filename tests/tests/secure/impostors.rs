//! A server that pretends to be the node learns no password, and is detected.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crate::{PASSWORD, Secured, assert_refused};

const UNREACHABLE: &str = "08001";

/// Listens on a separate port, responds to the n-th message with the n-th response, and
/// returns everything it received on each connection.
fn impostor(answers: &'static [&'static [u8]]) -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut heard = Vec::new();
            for answer in answers {
                let mut buffer = [0; 4096];
                let Ok(length @ 1..) = stream.read(&mut buffer) else { break };
                heard.extend_from_slice(&buffer[..length]);
                if stream.write_all(answer).is_err() {
                    break;
                }
            }
            // A client that aborts may reset the connection.
            let _ = read_rest(&mut stream, &mut heard);
            if tell.send(heard).is_err() {
                return;
            }
        }
    });
    (port, told)
}

fn read_rest(stream: &mut TcpStream, heard: &mut Vec<u8>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(helios_tests::BOUND))?;
    stream.read_to_end(heard).map(drop)
}

const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

#[test]
fn no_password_in_clear() {
    let secured = Secured::new("host all all all scram-sha-256", None).with_schema(&[]);
    let ask = |options: &[&str], answers: &'static [&'static [u8]]| {
        let (port, told) = impostor(answers);
        secured.reach("127.0.0.1", options);
        let update = "UPDATE helios.node SET ports = ARRAY[$1::int] WHERE name = 'n'";
        secured.cluster.connect().execute(update, &[&i32::from(port)]).unwrap();
        let result = secured.session("admin");
        let heard = told.recv_timeout(helios_tests::BOUND).unwrap();
        let has = |text: &str| heard.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!has(PASSWORD), "the password was sent in clear text");
        (result, heard.len(), has("admin"))
    };
    // Refuse TLS, and then request a clear-text password.
    let (result, _, _) = ask(&["sslmode=prefer"], &[b"N", CLEARTEXT]);
    assert_refused(result, UNREACHABLE, &["clear", "scram-sha-256"]);
    let (result, _, _) = ask(&["sslmode=disable"], &[CLEARTEXT]);
    assert_refused(result, UNREACHABLE, &["clear"]);
    // If TLS is required, not even the role name is sent.
    let (result, length, named) = ask(&["sslmode=require"], &[b"N", CLEARTEXT]);
    assert_refused(result, UNREACHABLE, &["TLS"]);
    assert_eq!((length, named), (8, false), "more than the request for TLS was sent");
    // Unencrypted data after the response is not accepted as the node's.
    let (result, _, named) = ask(&["sslmode=require"], &[b"SR\0\0\0\x08\0\0\0\0"]);
    assert_refused(result, "08", &["\"n\""]);
    assert!(!named);
    // An error instead of a response, as sent by very old servers.
    let (result, _, named) = ask(&["sslmode=require"], &[b"E\0\0\0\x05\0"]);
    assert_refused(result, UNREACHABLE, &["\"n\""]);
    assert!(!named);
    // SCRAM not completed: the node has not proved that it knows the password.
    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    let (result, _, _) = ask(&["sslmode=disable"], &[SASL, OK]);
    assert_refused(result, "08", &["\"n\""]);
}
