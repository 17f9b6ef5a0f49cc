//! One of the two servers: sends a block, and records the response without what may differ
//! between any two servers (OIDs, process IDs, source lines).

use std::collections::HashMap;
use std::fmt::Write;

use helios_tests::{Bound, Column, Event, Wire};
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;
use testkit::server::{ROLE, Server};

use super::corpus::Block;

/// How blocks without parameters are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Simple,
    Extended,
    /// Extended protocol, results in binary format.
    Binary,
}

pub struct Side<'a> {
    server: &'a Server,
    schema: String,
    protocol: Protocol,
    sessions: HashMap<String, Wire>,
    /// Connection for looking up names of OIDs, not part of the comparison.
    catalog: Client,
    types: HashMap<u32, String>,
}

impl<'a> Side<'a> {
    pub fn new(server: &'a Server, schema: &str, create: &str, protocol: Protocol) -> Self {
        let mut catalog = server.config(DATABASE).connect(NoTls).unwrap();
        catalog.batch_execute(create).unwrap();
        Self {
            server,
            schema: schema.to_owned(),
            protocol,
            sessions: HashMap::new(),
            catalog,
            types: HashMap::new(),
        }
    }

    /// Closes the sessions and drops the schema.
    pub fn finish(mut self) {
        self.sessions.clear();
        let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
        self.catalog.batch_execute(&drop).unwrap();
    }

    /// Forgets a session, so that the next block that names it reconnects.
    pub fn forget(&mut self, session: &str) {
        self.sessions.remove(session);
    }

    /// Sends a block and returns the response as lines. A lost connection is part of the response.
    pub fn run(&mut self, block: &Block) -> Vec<String> {
        let events = self.send(block);
        let mut lines = match events {
            Ok(events) => self.transcript(&events, block.unordered),
            Err(error) => vec![format!("LOST the connection: {error}")],
        };
        lines.dedup_by(|a, b| a == b && a.starts_with("setting "));
        lines
    }

    fn send(&mut self, block: &Block) -> std::io::Result<Vec<Event>> {
        if !self.sessions.contains_key(&block.session) {
            let options = format!("-c search_path={}", self.schema);
            let user = block.role.as_deref().unwrap_or(ROLE);
            let parameters = [("user", user), ("database", DATABASE), ("options", &options)];
            let wire = Wire::connect_with(self.server, &parameters)?;
            self.sessions.insert(block.session.clone(), wire);
        }
        let wire = self.sessions.get_mut(&block.session).unwrap();
        let copy = block.copy.as_deref();
        let must_bind = block.values.is_some() || block.max_rows > 0;
        if !must_bind && (self.protocol == Protocol::Simple || block.has_several_statements()) {
            return wire.simple(&block.sql, copy);
        }
        let values = block.values.iter().flatten().map(Option::as_deref).collect();
        let types = block.types.clone();
        let result_format = i16::from(self.protocol == Protocol::Binary);
        let bound = Bound { values, types, result_format, max_rows: block.max_rows };
        wire.extended(&block.sql, &bound, copy)
    }

    fn transcript(&mut self, events: &[Event], unordered: bool) -> Vec<String> {
        let mut columns: Vec<Column> = Vec::new();
        let mut lines = Vec::new();
        let mut first_row = 0;
        for event in events {
            match event {
                Event::Columns(found) => {
                    columns.clone_from(found);
                    lines.extend(found.iter().map(|column| self.column(column)));
                    first_row = lines.len();
                }
                Event::Row(values) => lines.push(self.row(&columns, values)),
                Event::Complete(tag) => {
                    if unordered {
                        lines[first_row..].sort();
                    }
                    lines.push(format!("tag {tag}"));
                    first_row = lines.len();
                }
                Event::Error(fields) => {
                    // Errors in planning (1/0 with constants) and locking are raised before the
                    // row description on one server, and after it if another server plans.
                    lines.truncate(lines.len() - descriptions(&lines));
                    lines.extend(report("error", fields));
                }
                Event::Notice(fields) => lines.extend(report("notice", fields)),
                Event::Parameters(types) => {
                    let names: Vec<String> = types.iter().map(|oid| self.type_name(*oid)).collect();
                    lines.push(format!("parameters {}", names.join(", ")));
                }
                Event::Data(data) => lines.push(format!("data {}", shown(data))),
                Event::Setting(name, value) => lines.push(format!("setting {name} = {value}")),
                Event::Done(_) => {}
                other => lines.push(format!("{other:?}")),
            }
        }
        lines
    }

    fn column(&mut self, column: &Column) -> String {
        let table = match column.table {
            0 => String::new(),
            oid => format!(" of {}.{}", self.table_name(oid), column.number),
        };
        let Column { name, size, modifier, format, .. } = column;
        let type_name = self.type_name(column.type_oid);
        format!("column {name:?} {type_name} size {size} typmod {modifier} format {format}{table}")
    }

    fn row(&mut self, columns: &[Column], values: &[Option<Vec<u8>>]) -> String {
        let mut texts = Vec::new();
        for (i, value) in values.iter().enumerate() {
            let binary = columns.get(i).filter(|column| column.format == 1);
            texts.push(match (value, binary.map(|column| column.type_oid)) {
                (None, _) => "NULL".to_owned(),
                (Some(bytes), Some(REGCLASS)) => self.table_name(number(bytes)),
                (Some(bytes), Some(REGTYPE)) => self.type_name(number(bytes)),
                (Some(bytes), Some(oid)) if may_hold_oids(oid) => self.binary(bytes),
                (Some(bytes), _) => shown(bytes),
            });
        }
        format!("row {}", texts.join(" | "))
    }

    /// Arrays, composites and ranges contain the OIDs of their elements' types.
    fn binary(&self, bytes: &[u8]) -> String {
        let mut text = String::new();
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            if let Some(name) = self.types.get(&number(rest)) {
                write!(text, "<{name}>").unwrap();
                rest = &rest[4..];
            } else {
                text.push_str(&shown(&[byte]));
                rest = tail;
            }
        }
        text
    }

    fn type_name(&mut self, oid: u32) -> String {
        if oid >= FIRST_OWN_OID && !self.types.contains_key(&oid) {
            let query = "SELECT oid, oid::regtype::text FROM pg_type WHERE oid >= $1";
            let rows = self.catalog.query(query, &[&FIRST_OWN_OID]).unwrap();
            self.types = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        }
        match self.types.get(&oid) {
            Some(name) => name.clone(),
            None if oid < FIRST_OWN_OID => oid.to_string(),
            None => "a type that is not committed".to_owned(),
        }
    }

    fn table_name(&mut self, oid: u32) -> String {
        let query = "SELECT $1::oid::regclass::text FROM pg_class WHERE oid = $1";
        match self.catalog.query_opt(query, &[&oid]).unwrap() {
            Some(row) => without_number(row.get(0)),
            None => "a table that is not committed".to_owned(),
        }
    }
}

const FIRST_OWN_OID: u32 = 16384;
const REGCLASS: u32 = 2205;
const REGTYPE: u32 = 2206;

/// The number at the beginning of the text, or 0.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |word: &[u8; 4]| u32::from_be_bytes(*word))
}

/// User-defined types, and pseudo-types or arrays whose elements may be of such types.
fn may_hold_oids(oid: u32) -> bool {
    const RECORD: u32 = 2249;
    const RECORD_ARRAY: u32 = 2287;
    oid >= FIRST_OWN_OID || [RECORD, RECORD_ARRAY].contains(&oid)
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Number of lines at the end that describe parameters and columns.
fn descriptions(lines: &[String]) -> usize {
    let describes = |line: &str| {
        ["column ", "parameters ", "NoData"].iter().any(|start| line.starts_with(start))
    };
    lines.iter().rev().take_while(|line| describes(line)).count()
}

/// Schemas of temporary tables are numbered by the server.
fn without_number(text: &str) -> String {
    let Some((before, after)) = text.split_once("pg_temp_") else { return text.to_owned() };
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}pg_temp{}", without_number(after))
}

/// The fields of an error or notice without the server's source location. Helios adds a line
/// to the context that names the node.
fn report(kind: &str, fields: &[(char, String)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (code, value) in fields.iter().filter(|(code, _)| !"FLR".contains(*code)) {
        let mut value = value.clone();
        if *code == 'W' {
            let on_node = |line: &&str| line.contains("node \"node-");
            value = value.lines().filter(|line| !on_node(line)).collect::<Vec<_>>().join("\n");
            if value.is_empty() {
                continue;
            }
        }
        lines.push(format!("{kind} {code} {}", without_number(&value)));
    }
    lines
}
