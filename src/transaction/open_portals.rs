//! Several portals on a node, opened by one call there.

use super::execution::{self, Execution, Reader, Step, borrow};
use super::links;
use super::mode::{Fetch, Mode};
use super::node_version;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::pg::exec::result_columns::ResultColumns;
use crate::remote::{Statement, Value};
use helios_core::node_interface::OPEN_PORTALS;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;

/// A query whose rows are read through a portal.
#[derive(Clone, Copy)]
pub struct PortalQuery<'a> {
    /// Its text.
    pub sql: &'a [u8],
    /// What its columns must be.
    pub columns: ResultColumns,
    /// Format codes of its columns, one for each; none if all are text.
    pub formats: &'a [i16],
}

/// A portal on a node that nothing was read from.
pub struct OpenPortal {
    node: NodeId,
    number: u32,
    columns: ResultColumns,
}

const TEXT_ARRAY: u32 = 1009;
const OID_ARRAY: u32 = 1028;
const BYTEA_ARRAY: u32 = 1001;
const BOOL_ARRAY: u32 = 1000;

/// Opens a portal for each query, all with the same snapshot and the same parameters: their types (OIDs), and each value with
/// whether it is in binary form.
///
/// Errors: 55000 if the node's version of Helios cannot do that.
pub fn open_portals(
    node: NodeId,
    queries: &[PortalQuery<'_>],
    types: &[u32],
    values: &mut dyn Iterator<Item = (bool, Option<&[u8]>)>,
) -> Result<Vec<OpenPortal>> {
    node_version::require_function(node, &OPEN_PORTALS)?;
    let link = links::link(node)?;
    let mut portals = Vec::new();
    let mut names = Vec::new();
    {
        let mut link = borrow(&link)?;
        for query in queries {
            let number = link.new_portal();
            names.push(Some(link.portal_name(number)));
            portals.push(OpenPortal { node, number, columns: query.columns });
        }
    }
    let format = |code: &i16| if *code == 0 { b'0' } else { b'1' };
    let result_formats = queries.iter().map(|q| Some(q.formats.iter().map(format).collect()));
    let texts = queries.iter().map(|query| Some(query.sql.to_vec()));
    let (mut formats, mut bytes) = (Vec::new(), Vec::new());
    for (binary, value) in values {
        formats.push(Some(if binary { b"t".to_vec() } else { b"f".to_vec() }));
        bytes.push(value.map(hexadecimal));
    }
    let types = types.iter().map(|oid| Some(oid.to_string().into_bytes()));
    let arguments = [
        array(names.into_iter()),
        array(texts),
        array(result_formats),
        array(types),
        array(bytes.into_iter()),
        array(formats.into_iter()),
    ];
    let arguments = arguments.each_ref().map(|bytes| Value { binary: false, bytes: Some(bytes) });
    let statement = Statement {
        types: &[TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, OID_ARRAY, BYTEA_ARRAY, BOOL_ARRAY],
        values: &arguments,
        ..Statement::plain(b"SELECT helios.open_portals($1, $2, $3, $4, $5, $6)")
    };
    let mut opening = execution::start(node, &statement, Mode::Transaction, Fetch::All, false)?;
    loop {
        if let Step::Complete(_) = opening.step(&mut |_| Ok(()))? {
            return Ok(portals);
        }
    }
}

impl OpenPortal {
    /// Reads the first rows.
    ///
    /// Errors: 42804 if the portal has other columns than the query shall have.
    pub fn fetch(self, rows: u32) -> Result<Execution> {
        let link = links::link(self.node)?;
        let mut l = borrow(&link)?;
        let Some(level) = l.portal_level(self.number) else {
            return Err(Error::new(
                Code::ERRCODE_INVALID_CURSOR_NAME,
                "the rows on the node are gone with the transaction that asked for them",
            ));
        };
        let written = l
            .begin(Mode::Transaction, false)
            .and_then(|()| l.describe_portal(self.number, self.columns))
            .and_then(|()| l.execute(Some((self.number, rows))));
        if let Err(error) = written {
            l.discard_request();
            return Err(error);
        }
        let stream = l.submit_at(level)?;
        drop(l);
        Ok(Execution::of_portal(Reader { link, stream }, self.number))
    }
}

/// An array's text.
fn array(elements: impl Iterator<Item = Option<Vec<u8>>>) -> Vec<u8> {
    let mut text = b"{".to_vec();
    for (i, element) in elements.enumerate() {
        if i > 0 {
            text.push(b',');
        }
        let Some(element) = element else {
            text.extend(b"NULL");
            continue;
        };
        text.push(b'"');
        for byte in element {
            if matches!(byte, b'"' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
        text.push(b'"');
    }
    text.push(b'}');
    text
}

/// The text of a bytea.
fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    let mut text = b"\\x".to_vec();
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_written_as_postgresql_reads_them() {
        let elements = [Some(b"a\"b\\c".to_vec()), None, Some(Vec::new())];
        assert_eq!(array(elements.into_iter()), b"{\"a\\\"b\\\\c\",NULL,\"\"}");
        assert_eq!(array(std::iter::empty()), b"{}");
        assert_eq!(hexadecimal(&[0, 255, 16]), b"\\x00ff10");
    }
}
