//! A client that only receives, so that the figures are those of the servers.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres_protocol::message::frontend;
use rustix::process::Pid;

use testkit::processes;
use testkit::server::ROLE;

/// Result of one query.
pub struct Drained {
    /// Number of rows received.
    pub rows: u64,
    /// Time from sending the query to the end of its result.
    pub time: Duration,
    /// Peak growth of the serving process's private memory during the query, in kB.
    pub growth_kb: Option<u64>,
}

/// A connection to a server before the startup message is sent.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Starts a session, runs a short query to warm the caches, then runs `query` and counts its rows.
/// Measures the memory of `process`, or of the backend that the connection reports.
pub fn drain(
    mut stream: impl Stream,
    database: &str,
    warm_up: &str,
    query: &str,
    process: Option<Pid>,
) -> Result<Drained> {
    let mut buffer = bytes::BytesMut::new();
    frontend::startup_message([("user", ROLE), ("database", database)], &mut buffer)?;
    stream.write_all(&buffer)?;
    let greeting = read_until_ready(&mut stream)?;
    let process = process.or_else(|| Pid::from_raw(greeting.process?));
    ask(&mut stream, warm_up)?;
    let anonymous = || process.and_then(|pid| processes::status_kb(pid, "RssAnon"));
    let before = anonymous();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = before;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(anonymous());
                std::thread::sleep(Duration::from_millis(5));
            }
            peak.max(anonymous())
        });
        let start = Instant::now();
        let answer = ask(&mut stream, query);
        let time = start.elapsed();
        over.store(true, Ordering::Relaxed);
        let peak = watcher.join().unwrap_or(None);
        let growth_kb = before.zip(peak).map(|(before, peak)| peak.saturating_sub(before));
        Ok(Drained { rows: answer?.rows, time, growth_kb })
    })
}

#[derive(Default)]
struct Answer {
    rows: u64,
    process: Option<i32>,
}

fn ask(stream: &mut impl Stream, query: &str) -> Result<Answer> {
    let mut buffer = bytes::BytesMut::new();
    frontend::query(query, &mut buffer)?;
    stream.write_all(&buffer)?;
    read_until_ready(stream)
}

/// Reads messages until ReadyForQuery; an ErrorResponse is an error.
fn read_until_ready(stream: &mut impl Stream) -> Result<Answer> {
    let mut answer = Answer::default();
    let mut failure = None;
    let mut buffer = vec![0; 1 << 18];
    let mut filled = 0;
    loop {
        let mut at = 0;
        while let Some((tag, body, end)) = message(&buffer[at..filled]) {
            match tag {
                b'D' => answer.rows += 1,
                b'K' => answer.process = body.get(..4).and_then(big_endian),
                b'E' => failure = Some(String::from_utf8_lossy(body).replace('\0', " ")),
                b'Z' => {
                    return match failure {
                        Some(text) => bail!("server error: {text}"),
                        None => Ok(answer),
                    };
                }
                _ => {}
            }
            at += end;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        if filled == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        match stream.read(&mut buffer[filled..]).context("could not read from the server")? {
            0 => {
                bail!("server closed the connection unexpectedly: {}", failure.unwrap_or_default())
            }
            count => filled += count,
        }
    }
}

/// Splits off the first complete message: its type, body and total length.
fn message(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let length = usize::try_from(big_endian(bytes.get(1..5)?)?).ok()?;
    Some((bytes[0], bytes.get(5..length + 1)?, length + 1))
}

fn big_endian(bytes: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.try_into().ok()?))
}
