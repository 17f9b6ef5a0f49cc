//! Periodic health checks of nodes.
//!
//! All addresses of all nodes are probed in parallel with the first message of a connection (SSLRequest), to which a
//! PostgreSQL server responds with one byte. That requires no role, password or session on the node.

use crate::catalog::{self, Node};
use crate::error::Result;
use crate::pg::ipc::worker;
use crate::remote;
use crate::settings;
use crate::shared::node_health::{self, State};
use socket2::{SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::log::log;

/// Timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of consecutive probes without any response after which a node is considered silent; a single one may be lost.
const SILENT_LOOKS: u32 = 2;

/// Minimum interval between two checks of an unhealthy node; it doubles with each check.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The health of the nodes of one database.
#[derive(Default)]
pub struct Watch {
    nodes: BTreeMap<i32, Watched>,
}

/// The worker's state of a node.
#[derive(Default)]
struct Watched {
    last: Option<Instant>,
    /// Time from the last check to the next one.
    pause: Duration,
    /// Number of consecutive checks without any response.
    silent: u32,
    state: State,
}

/// A probe of one address.
struct Probe {
    node: i32,
    socket: Option<Socket>,
    asked: bool,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Waiting,
    Alive,
    Refused,
}

impl Watch {
    /// Checks the nodes that are due: a healthy one every `helios.health_interval`; an unhealthy one, or one with a
    /// failed session, at once and again with increasing pauses. Returns the time until the next check.
    pub fn poll(&mut self, database: u32, nodes: &[Rc<Node>]) -> Duration {
        self.nodes.retain(|node, _| nodes.iter().any(|n| n.id.0 == *node));
        let due: Vec<Rc<Node>> = nodes
            .iter()
            .filter(|node| self.nodes.entry(node.id.0).or_default().left(node).is_zero())
            .cloned()
            .collect();
        if !due.is_empty() {
            let answers = ask(&due);
            for node in &due {
                self.nodes.entry(node.id.0).or_default().judge(node, &answers);
            }
        }
        let looked = |node: &Node| due.iter().any(|d| d.id == node.id);
        let states: Vec<_> = nodes
            .iter()
            .filter_map(|node| Some((node, self.nodes.get(&node.id.0)?)))
            .map(|(node, watched)| (node.id.0, looked(node).then_some(watched.state)))
            .collect();
        if !due.is_empty() || nodes.is_empty() {
            node_health::note(database, &states);
        }
        let left = nodes.iter().filter_map(|node| Some(self.nodes.get(&node.id.0)?.left(node)));
        left.min().unwrap_or_else(interval)
    }
}

fn interval() -> Duration {
    Duration::from_millis(u64::try_from(settings::HEALTH_INTERVAL.get()).unwrap_or(5000))
}

impl Watched {
    /// The time until the next check.
    fn left(&self, node: &Node) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        let suspect = node_health::of(node.id.0).is_some_and(|health| health.suspect);
        let pause = if suspect { FIRST_PAUSE } else { self.pause };
        pause.min(interval()).saturating_sub(last.elapsed())
    }

    fn judge(&mut self, node: &Node, answers: &[(i32, Answer)]) {
        let of_node: Vec<_> =
            answers.iter().filter(|(id, _)| *id == node.id.0).map(|(_, answer)| *answer).collect();
        let alive = of_node.iter().filter(|answer| **answer == Answer::Alive).count();
        let silent = of_node.iter().all(|answer| *answer == Answer::Waiting);
        self.silent = if silent { self.silent.saturating_add(1) } else { 0 };
        let state = match alive {
            n if n == of_node.len() => State::Online,
            0 if self.silent >= SILENT_LOOKS => State::Silent,
            0 => State::Offline,
            _ => State::Degraded,
        };
        if state != self.state {
            log(format!("node \"{}\" is {}", node.name, word(state)));
        }
        self.pause = match alive {
            0 if self.state == state => (self.pause * 2).min(interval()),
            0 => FIRST_PAUSE,
            _ => interval(),
        };
        self.state = state;
        self.last = Some(Instant::now());
    }
}

/// Description of a state for the log.
fn word(state: State) -> &'static str {
    match state {
        State::Online => "online",
        State::Degraded => "degraded: some of its addresses do not respond",
        State::Offline => "offline: could not connect",
        State::Silent => "offline: no response",
    }
}

/// Probes every address of every node.
fn ask(nodes: &[Rc<Node>]) -> Vec<(i32, Answer)> {
    let mut probes: Vec<Probe> = nodes
        .iter()
        .flat_map(|node| node.addresses.iter().map(|a| (node.id.0, a)))
        .map(|(node, address)| Probe::start(node, &address.host, address.port))
        .collect();
    let until = Instant::now() + PROBE_TIMEOUT;
    let mut pause = Duration::from_millis(1);
    while probes.iter().any(|probe| probe.answer == Answer::Waiting) && Instant::now() < until {
        worker::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
        for probe in &mut probes {
            probe.step();
        }
    }
    probes.into_iter().map(|probe| (probe.node, probe.answer)).collect()
}

impl Probe {
    fn start(node: i32, host: &str, port: u16) -> Self {
        let socket = remote::resolve(host, port).ok().and_then(|a| connect(a.first()?).ok());
        let answer = if socket.is_some() { Answer::Waiting } else { Answer::Refused };
        Self { node, socket, asked: false, answer }
    }

    fn step(&mut self) {
        let (Answer::Waiting, Some(socket)) = (self.answer, &mut self.socket) else { return };
        match proceed(socket, &mut self.asked) {
            Ok(()) => self.answer = Answer::Alive,
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {}
            Err(_) => self.answer = Answer::Refused,
        }
    }
}

/// Starts a connection attempt.
fn connect(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(socket),
    }
}

/// Sends the request when connected, and reads the response.
fn proceed(socket: &mut Socket, asked: &mut bool) -> io::Result<()> {
    if !*asked {
        let mut request = bytes::BytesMut::new();
        postgres_protocol::message::frontend::ssl_request(&mut request);
        socket.write_all(&request)?;
        *asked = true;
    }
    match socket.read(&mut [0])? {
        0 => Err(io::ErrorKind::ConnectionReset.into()),
        _ => Ok(()),
    }
}

/// The nodes to be monitored: all except this server.
pub fn nodes() -> Result<Vec<Rc<Node>>> {
    if catalog::in_use() { catalog::remote_nodes() } else { Ok(Vec::new()) }
}
