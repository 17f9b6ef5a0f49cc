//! Looks every few seconds whether the nodes answer.
//!
//! All addresses of all nodes are asked at once, by the first message of a connection (SSLRequest), as far as the one
//! byte with which a PostgreSQL server answers it. That needs no role, no password and no session on the node.

use crate::directory::{self, Node};
use crate::error::Result;
use crate::pg::node_health::{self, State};
use crate::pg::worker;
use crate::remote;
use crate::settings;
use socket2::{SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::log;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Looks in a row without any sign before a node counts as silent: one may be lost.
const SILENT_LOOKS: u32 = 2;

/// The health of the nodes of one database.
#[derive(Default)]
pub struct Watch {
    last: Option<Instant>,
    /// Looks in a row in which a node gave no sign.
    silent: BTreeMap<i32, u32>,
    states: BTreeMap<i32, State>,
}

/// One address that is being asked.
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
    /// Looks if it is time to; gives the time until the next look.
    pub fn look(&mut self, database: u32, nodes: &[Rc<Node>]) -> Duration {
        let millis = u64::try_from(settings::HEALTH_INTERVAL.get()).unwrap_or(5000);
        let interval = Duration::from_millis(millis);
        if let Some(left) = self.last.and_then(|last| interval.checked_sub(last.elapsed())) {
            return left;
        }
        self.last = Some(Instant::now());
        let answers = ask(nodes);
        self.silent.retain(|node, _| nodes.iter().any(|n| n.id.0 == *node));
        self.states.retain(|node, _| nodes.iter().any(|n| n.id.0 == *node));
        let states: Vec<_> =
            nodes.iter().map(|node| (node.id.0, self.judge(node, &answers))).collect();
        node_health::note(database, &states);
        interval
    }

    fn judge(&mut self, node: &Node, answers: &[(i32, Answer)]) -> State {
        let of_node: Vec<_> =
            answers.iter().filter(|(id, _)| *id == node.id.0).map(|(_, answer)| *answer).collect();
        let alive = of_node.iter().filter(|answer| **answer == Answer::Alive).count();
        let silent = of_node.iter().all(|answer| *answer == Answer::Waiting);
        let looks = self.silent.entry(node.id.0).or_default();
        *looks = if silent { looks.saturating_add(1) } else { 0 };
        let state = match alive {
            n if n == of_node.len() => State::Online,
            0 if *looks >= SILENT_LOOKS => State::Silent,
            0 => State::Offline,
            _ => State::Degraded,
        };
        let before = self.states.insert(node.id.0, state).unwrap_or_default();
        if before != state {
            log(format!("node \"{}\" is {}", node.name, word(state)));
        }
        state
    }
}

/// As the log says it.
fn word(state: State) -> &'static str {
    match state {
        State::Online => "online",
        State::Degraded => "degraded: not all of its addresses answer",
        State::Offline => "offline: no connection can be made",
        State::Silent => "offline: it does not answer",
    }
}

/// Asks every address of every node.
fn ask(nodes: &[Rc<Node>]) -> Vec<(i32, Answer)> {
    let mut probes: Vec<Probe> = nodes
        .iter()
        .flat_map(|node| node.addresses.iter().map(|a| (node.id.0, a)))
        .map(|(node, address)| Probe::start(node, &address.host, address.port))
        .collect();
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    while probes.iter().any(|probe| probe.answer == Answer::Waiting) && Instant::now() < until {
        worker::rest(pause);
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

/// A connection attempt that is under way.
fn connect(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(socket),
    }
}

/// Asks, once connected, and reads the answer.
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

/// The nodes that are to be watched: all but this server.
pub fn nodes() -> Result<Vec<Rc<Node>>> {
    if directory::in_use() { directory::remote_nodes() } else { Ok(Vec::new()) }
}
