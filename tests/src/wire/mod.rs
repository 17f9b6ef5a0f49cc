//! A client that shows every message of the protocol, for tests that compare or break things.
//!
//! `postgres` hides command tags, notices, formats and portals; here nothing is hidden and nothing
//! is sent that was not asked for.

mod event;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::IsNull;
use postgres_protocol::message::{backend, frontend};
use xtask::server::{HOST, ROLE, Server};

pub use event::{Column, Event};
use event::{column, fields};

/// How long an answer may take: a server that says nothing for so long hangs.
const PATIENCE: Duration = crate::BOUND;

/// How a statement is sent by the extended protocol.
#[derive(Debug, Clone, Default)]
pub struct Bound<'a> {
    /// Parameters in text form.
    pub values: Vec<Option<&'a str>>,
    /// Their types, 0 for "you decide"; may be shorter than the values.
    pub types: Vec<u32>,
    /// The format asked for, for all columns.
    pub result_format: i16,
    /// Rows to fetch with each Execute, 0 for all.
    pub max_rows: i32,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    /// The backend's process id.
    pub pid: i32,
    /// The key for cancelling.
    pub key: i32,
}

impl Wire {
    /// Connects as `postgres`.
    pub fn connect(server: &Server, database: &str) -> Self {
        Self::connect_with(server, &[("user", ROLE), ("database", database)]).unwrap()
    }

    /// Connects with start-up parameters; the error is what the server said.
    pub fn connect_with(server: &Server, parameters: &[(&str, &str)]) -> io::Result<Self> {
        let stream = TcpStream::connect((HOST, server.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let mut wire = Self { stream, input, output, pid: 0, key: 0 };
        frontend::startup_message(parameters.iter().copied(), &mut wire.output)?;
        wire.flush()?;
        loop {
            match wire.message()? {
                backend::Message::BackendKeyData(body) => {
                    (wire.pid, wire.key) = (body.process_id(), body.secret_key());
                }
                backend::Message::ErrorResponse(body) => {
                    let fields = fields(&mut body.fields())?;
                    return Err(io::Error::other(format!("{fields:?}")));
                }
                backend::Message::ReadyForQuery(_) => return Ok(wire),
                _ => {}
            }
        }
    }

    /// A simple query and all that comes back, up to and with `Ready`. `copy` is what is sent
    /// when the server asks for COPY data; without it the COPY is failed.
    pub fn simple(&mut self, sql: &str, copy: Option<&[u8]>) -> io::Result<Vec<Event>> {
        self.send_simple(sql)?;
        self.until_ready(copy)
    }

    /// Sends a simple query and does not wait.
    pub fn send_simple(&mut self, sql: &str) -> io::Result<()> {
        frontend::query(sql, &mut self.output)?;
        self.flush()
    }

    /// Parse, Describe, Bind, Execute, Sync with unnamed statement and portal, and all that comes
    /// back. With `max_rows` the portal is executed again until it is done.
    pub fn extended(
        &mut self,
        sql: &str,
        bound: &Bound<'_>,
        copy: Option<&[u8]>,
    ) -> io::Result<Vec<Event>> {
        self.parse("", sql, &bound.types)?;
        self.bind("", "", bound)?;
        frontend::describe(b'P', "", &mut self.output)?;
        frontend::execute("", bound.max_rows, &mut self.output)?;
        // A Sync that arrives while the server reads COPY data is swallowed.
        let is_copy = sql.trim_start().get(..4).is_some_and(|w| w.eq_ignore_ascii_case("copy"));
        if bound.max_rows == 0 && !is_copy {
            frontend::sync(&mut self.output);
            self.flush()?;
            return self.until_ready(copy);
        }
        frontend::flush(&mut self.output);
        self.flush()?;
        let mut all = Vec::new();
        loop {
            let event = self.event()?;
            let again = event == Event::Suspended;
            let over = matches!(event, Event::Complete(_) | Event::Empty | Event::Error(_));
            let wants_data = matches!(event, Event::CopyIn(..));
            all.push(event);
            if wants_data {
                self.answer_copy(copy)?;
                frontend::flush(&mut self.output);
                self.flush()?;
            }
            if again {
                frontend::execute("", bound.max_rows, &mut self.output)?;
                frontend::flush(&mut self.output);
                self.flush()?;
            }
            if over {
                break;
            }
        }
        all.append(&mut self.sync()?);
        Ok(all)
    }

    /// Queues Parse and Describe of a statement.
    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> io::Result<()> {
        frontend::parse(name, sql, types.iter().copied(), &mut self.output)?;
        frontend::describe(b'S', name, &mut self.output)
    }

    /// Queues Bind.
    pub fn bind(&mut self, portal: &str, statement: &str, bound: &Bound<'_>) -> io::Result<()> {
        let write = |value: &Option<&str>, buffer: &mut BytesMut| {
            Ok(match value {
                Some(text) => {
                    buffer.extend_from_slice(text.as_bytes());
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        };
        let formats = std::iter::empty::<i16>();
        let results = [bound.result_format];
        let out = &mut self.output;
        frontend::bind(portal, statement, formats, &bound.values, write, results, out)
            .map_err(|_| io::Error::other("a parameter cannot be sent"))
    }

    /// Queues Execute.
    pub fn execute(&mut self, portal: &str, max_rows: i32) -> io::Result<()> {
        frontend::execute(portal, max_rows, &mut self.output)
    }

    /// Queues the end of a statement (`b'S'`) or portal (`b'P'`).
    pub fn close(&mut self, kind: u8, name: &str) -> io::Result<()> {
        frontend::close(kind, name, &mut self.output)
    }

    /// Sends what is queued and Sync; all that comes back.
    pub fn sync(&mut self) -> io::Result<Vec<Event>> {
        self.send_sync()?;
        self.until_ready(None)
    }

    /// Sends what is queued and Sync, and does not wait.
    pub fn send_sync(&mut self) -> io::Result<()> {
        frontend::sync(&mut self.output);
        self.flush()
    }

    /// Sends COPY data.
    pub fn copy_data(&mut self, data: &[u8]) -> io::Result<()> {
        frontend::CopyData::new(data)?.write(&mut self.output);
        self.flush()
    }

    /// Ends COPY data.
    pub fn copy_done(&mut self) -> io::Result<()> {
        frontend::copy_done(&mut self.output);
        self.flush()
    }

    /// Asks the server to cancel what this connection runs.
    pub fn cancel(&self, server: &Server) -> io::Result<()> {
        cancel(server, self.pid, self.key)
    }

    /// Everything up to and with `Ready`.
    pub fn until_ready(&mut self, copy: Option<&[u8]>) -> io::Result<Vec<Event>> {
        let mut all = Vec::new();
        loop {
            let event = self.event()?;
            let ready = matches!(event, Event::Ready(_));
            let wants_data = matches!(event, Event::CopyIn(..));
            all.push(event);
            if wants_data {
                self.answer_copy(copy)?;
            }
            if ready {
                return Ok(all);
            }
        }
    }

    fn answer_copy(&mut self, copy: Option<&[u8]>) -> io::Result<()> {
        match copy {
            Some(data) => {
                for part in data.chunks(8192) {
                    frontend::CopyData::new(part)?.write(&mut self.output);
                }
                frontend::copy_done(&mut self.output);
            }
            None => frontend::copy_fail("the test has no data", &mut self.output)?,
        }
        self.flush()
    }

    /// The next message.
    pub fn event(&mut self) -> io::Result<Event> {
        use backend::Message as M;
        // The library would stumble over it, so what comes must be here before it is asked.
        while self.input.is_empty() || (self.input[0] == b'V' && !self.has_whole_message()) {
            self.receive()?;
        }
        if let Some(value) = self.function_result() {
            return Ok(Event::Value(value));
        }
        Ok(match self.message()? {
            M::RowDescription(body) => {
                Event::Columns(body.fields().map(|field| Ok(column(&field))).collect()?)
            }
            M::NoData => Event::NoData,
            M::ParameterDescription(body) => Event::Parameters(body.parameters().collect()?),
            M::DataRow(body) => {
                let bytes = body.buffer();
                let value = |range: Option<std::ops::Range<usize>>| {
                    Ok(range.map(|range| bytes[range].to_vec()))
                };
                Event::Row(body.ranges().map(value).collect()?)
            }
            M::CommandComplete(body) => Event::Complete(body.tag()?.to_owned()),
            M::EmptyQueryResponse => Event::Empty,
            M::PortalSuspended => Event::Suspended,
            M::ErrorResponse(body) => Event::Error(fields(&mut body.fields())?),
            M::NoticeResponse(body) => Event::Notice(fields(&mut body.fields())?),
            M::NotificationResponse(body) => {
                Event::Notification(body.channel()?.to_owned(), body.message()?.to_owned())
            }
            M::ParameterStatus(body) => {
                Event::Setting(body.name()?.to_owned(), body.value()?.to_owned())
            }
            M::CopyInResponse(body) => {
                Event::CopyIn(body.format(), body.column_formats().collect()?)
            }
            M::CopyOutResponse(body) => {
                Event::CopyOut(body.format(), body.column_formats().collect()?)
            }
            M::CopyData(body) => Event::Data(body.data().to_vec()),
            M::CopyDone => Event::DataEnd,
            M::ParseComplete => Event::Done("parse"),
            M::BindComplete => Event::Done("bind"),
            M::CloseComplete => Event::Done("close"),
            M::ReadyForQuery(body) => Event::Ready(char::from(body.status())),
            _ => return Err(io::Error::other("a message that has no place here")),
        })
    }

    fn message(&mut self) -> io::Result<backend::Message> {
        loop {
            if let Some(message) = backend::Message::parse(&mut self.input)? {
                return Ok(message);
            }
            self.receive()?;
        }
    }

    fn has_whole_message(&self) -> bool {
        self.input.get(1..5).is_some_and(|length| {
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
            self.input.len() > length as usize
        })
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16384];
        let length = match self.stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            read => read?,
        };
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(&buffer[..length]);
        Ok(())
    }

    /// A FunctionCall message with arguments in text form, and all that comes back, up to and with `Ready`.
    pub fn function_call(&mut self, function: u32, arguments: &[&str]) -> io::Result<Vec<Event>> {
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        let mut body = function.to_be_bytes().to_vec();
        body.extend_from_slice(&count(0)); // all arguments are text
        body.extend_from_slice(&count(arguments.len()));
        for argument in arguments {
            let length = u32::try_from(argument.len()).unwrap_or(u32::MAX);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(argument.as_bytes());
        }
        body.extend_from_slice(&count(0)); // and so is the result
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        self.output.extend_from_slice(b"F");
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(&body);
        self.flush()?;
        self.until_ready(None)
    }

    /// FunctionCallResponse, which the library does not know; `None` if another message comes first.
    fn function_result(&mut self) -> Option<Option<Vec<u8>>> {
        let head: &[u8; 9] = self.input.first_chunk()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] != b'V' || self.input.len() < length + 1 {
            return None;
        }
        let message = self.input.split_to(length + 1);
        let is_null = message[5..9] == [0xff; 4];
        Some((!is_null).then(|| message[9..].to_vec()))
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }
}

/// Asks a server to cancel what the connection with this process id and key runs; returns when the
/// signal is sent.
pub fn cancel(server: &Server, pid: i32, key: i32) -> io::Result<()> {
    let mut stream = TcpStream::connect((HOST, server.port))?;
    let mut buffer = BytesMut::new();
    frontend::cancel_request(pid, key, &mut buffer);
    stream.write_all(&buffer)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}
