//! COPY of a table on a node: the data is passed unchanged between the client, or a file here, and the node.

use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::catalog::names::{relation_local_name, relation_namespace};
use crate::pg::catalog::server_file_rights;
use crate::pg::exec::result_columns;
use crate::pg::session::client::{self, CopyInput, CopyReader};
use crate::pg::session::namespace_name;
use crate::pg::tree::parser;
use crate::stats::Counted;
use crate::transaction::{self, Copy, Mode};
use helios_core::copy_text;
use helios_core::frames;
use helios_core::lex::Rules;
use helios_core::quote;
use pgrx::pg_sys::{Oid, errcodes::PgSqlErrorCode};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Number of bytes of a file or program's output sent at a time.
const CHUNK: usize = 64 * 1024;

/// A COPY statement of one relation.
pub struct CopyStatement<'a> {
    /// The relation's node; its shard is locked.
    pub node: NodeId,
    /// The relation, which is locked.
    pub relation: Oid,
    /// Namespace of the relation.
    pub namespace: Oid,
    /// The statement's own text.
    pub sql: &'a [u8],
    /// Number of characters that precede the statement in the client's text.
    pub offset: i32,
    /// `COPY … FROM`.
    pub from: bool,
    /// Source or destination of the data.
    pub data: Data,
}

/// The other end of a COPY.
pub enum Data {
    /// STDIN or STDOUT.
    Client,
    /// A file of the coordinator.
    File(String),
    /// A program run by the coordinator.
    Program(String),
}

/// Runs the statement on the relation's node; returns the number of rows for its command tag.
///
/// Errors: the node's own; 42501 without permission to use server files or programs; 58P01 and so on for files.
pub fn run(statement: &CopyStatement<'_>) -> Result<u64> {
    let text = match &statement.data {
        Data::Client => statement.sql.to_vec(),
        file_or_program => {
            server_file_rights::require(
                statement.from,
                matches!(file_or_program, Data::Program(_)),
            )?;
            let rules =
                Rules { standard_conforming_strings: parser::standard_conforming_strings() };
            let streamed = copy_text::streamed(statement.sql, rules).ok_or_else(|| {
                Error::new(
                    PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                    "cannot find the file in this COPY statement",
                )
                .hint("Use COPY … FROM STDIN or TO STDOUT, or \\copy in psql.")
            })?;
            streamed.text
        }
    };
    let encoding = (!client::speaks_database_encoding()).then(client::encoding_name);
    let sql = if encoding.is_some() { client::to_client_encoding(&text) } else { text };
    if statement.from {
        super::note_write(statement.namespace);
    }
    let moved = |error| {
        let error = super::absent::explain(error, std::iter::once(statement.namespace));
        super::position::relocate(error, Some(statement.offset), statement.sql)
    };
    let mut counted = Counted::begin(std::iter::once(statement.namespace));
    let (node, mode) = (statement.node, super::mode());
    let copied = check_columns(statement.relation, node, mode)
        .and_then(|()| transaction::copy(node, &sql, mode, encoding.as_deref()).map_err(&moved))
        .and_then(|copy| pass(copy, statement).map_err(&moved));
    match &copied {
        Ok(rows) => counted.done(*rows),
        Err(_) => counted.failed(),
    }
    copied
}

/// COPY data does not describe its columns: without a column list, the node's columns would be used in place of the
/// local definition's.
fn check_columns(relation: Oid, node: NodeId, mode: Mode) -> Result<()> {
    let (Some(namespace), Some(name)) =
        (relation_namespace(relation).and_then(namespace_name), relation_local_name(relation))
    else {
        return Ok(());
    };
    let sql = format!("SELECT * FROM {}", quote::qualified(&namespace, &name));
    transaction::check_columns(node, sql.as_bytes(), result_columns::of_relation(relation), mode)
}

/// Transfers the data; returns the number of rows.
fn pass(copy: Copy, statement: &CopyStatement<'_>) -> Result<u64> {
    let tag = match &statement.data {
        Data::Client if statement.from => from_client(copy),
        Data::Client => to_client(copy),
        Data::File(path) if statement.from => from_file(copy, path),
        Data::File(path) => to_file(copy, path),
        Data::Program(command) if statement.from => from_program(copy, command),
        Data::Program(command) => to_program(copy, command),
    }?;
    Ok(frames::rows_affected(&tag).unwrap_or(0))
}

/// The body of a CopyInResponse or CopyOutResponse for the client, as the node described the data.
fn response(copy: &Copy) -> Vec<u8> {
    let (format, columns) = copy.format();
    let mut body = vec![format as u8];
    body.extend((columns.len() as i16).to_be_bytes());
    for column in columns {
        body.extend(column.to_be_bytes());
    }
    body
}

fn from_client(mut copy: Copy) -> Result<String> {
    client::send(b'G', &response(&copy));
    client::flush();
    let mut reader = CopyReader::new();
    loop {
        match reader.next()? {
            CopyInput::Data(data) => copy.send(data)?,
            CopyInput::Done => return copy.finish(),
            CopyInput::Fail(reason) => return Err(copy.fail(&String::from_utf8_lossy(&reason))),
        }
    }
}

fn to_client(mut copy: Copy) -> Result<String> {
    client::send(b'H', &response(&copy));
    let mut messages = 0u32;
    loop {
        let end = copy.receive(&mut |data| {
            client::send(b'd', data);
            messages = messages.wrapping_add(1);
            if messages.is_multiple_of(64) {
                client::check_for_interrupts();
            }
            Ok(())
        })?;
        if let Some(tag) = end {
            client::send(b'c', &[]);
            return Ok(tag);
        }
    }
}

fn file_error(verb: &str, from: bool, path: &str, error: &std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
        std::io::ErrorKind::PermissionDenied => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        std::io::ErrorKind::StorageFull => PgSqlErrorCode::ERRCODE_DISK_FULL,
        _ => PgSqlErrorCode::ERRCODE_IO_ERROR,
    };
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text);
    let (way, what) = if from { ("for reading", "COPY FROM") } else { ("for writing", "COPY TO") };
    let verb_and_way = format!("could not {verb} file \"{path}\"");
    let message = match verb {
        "open" => format!("{verb_and_way} {way}: {reason}"),
        _ => format!("{verb_and_way}: {reason}"),
    };
    let does = if from { "read" } else { "write" };
    Error::new(code, message).hint(format!(
        "{what} instructs the PostgreSQL server process to {does} a file. You may want a client-side facility such as psql's \\copy."
    ))
}

fn from_file(copy: Copy, path: &str) -> Result<String> {
    let file = File::open(path).map_err(|e| file_error("open", true, path, &e))?;
    if file.metadata().map_err(|e| file_error("stat", true, path, &e))?.is_dir() {
        return Err(Error::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("\"{path}\" is a directory"),
        ));
    }
    send_all(copy, file, |e| file_error("read", true, path, &e))
}

fn send_all(
    mut copy: Copy,
    mut from: impl Read,
    failed: impl Fn(std::io::Error) -> Error,
) -> Result<String> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).map_err(&failed)? {
            0 => return copy.finish(),
            read => copy.send(&chunk[..read])?,
        }
        client::check_for_interrupts();
    }
}

fn receive_all(
    mut copy: Copy,
    mut to: impl Write,
    failed: impl Fn(std::io::Error) -> Error,
) -> Result<String> {
    loop {
        if let Some(tag) = copy.receive(&mut |data| to.write_all(data).map_err(&failed))? {
            to.flush().map_err(&failed)?;
            return Ok(tag);
        }
    }
}

fn to_file(copy: Copy, path: &str) -> Result<String> {
    if !Path::new(path).is_absolute() {
        return Err(Error::new(
            PgSqlErrorCode::ERRCODE_INVALID_NAME,
            "relative path not allowed for COPY to file",
        ));
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .map_err(|e| file_error("open", false, path, &e))?;
    receive_all(copy, std::io::BufWriter::new(file), |e| file_error("write to", false, path, &e))
}

fn program_error(command: &str, what: &str) -> Error {
    Error::new(
        PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
        format!("program \"{command}\" failed"),
    )
    .detail(what)
}

/// A child process that is killed if the statement ends before it.
struct Program {
    child: Child,
    command: String,
}

impl Program {
    fn start(command: &str, stdin: Stdio, stdout: Stdio) -> Result<Self> {
        let child = Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(stdin)
            .stdout(stdout)
            .spawn()
            .map_err(|e| program_error(command, &e.to_string()))?;
        Ok(Self { child, command: command.to_owned() })
    }

    fn wait(&mut self) -> Result<()> {
        let status = self.child.wait().map_err(|e| program_error(&self.command, &e.to_string()))?;
        if status.success() {
            Ok(())
        } else {
            Err(program_error(&self.command, &format!("The child process ended with {status}.")))
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The statement has already failed; a program that cannot be killed exits when its pipe is closed.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn from_program(mut copy: Copy, command: &str) -> Result<String> {
    let mut program = Program::start(command, Stdio::null(), Stdio::piped())?;
    let Some(mut output) = program.child.stdout.take() else {
        return Err(program_error(command, "It has no output."));
    };
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = output.read(&mut chunk).map_err(|e| program_error(command, &e.to_string()))?;
        if read == 0 {
            // If the program failed, the statement must fail before the rows are committed.
            program.wait()?;
            return copy.finish();
        }
        copy.send(&chunk[..read])?;
        client::check_for_interrupts();
    }
}

fn to_program(copy: Copy, command: &str) -> Result<String> {
    let mut program = Program::start(command, Stdio::piped(), Stdio::null())?;
    let Some(input) = program.child.stdin.take() else {
        return Err(program_error(command, "It has no input."));
    };
    let tag = receive_all(copy, input, |e| program_error(command, &e.to_string()))?;
    program.wait()?;
    Ok(tag)
}
