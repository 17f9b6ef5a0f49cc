//! A cursor on a node, of the same name as the one here, which PostgreSQL's own DECLARE, FETCH and MOVE work on.

use super::execution::{Execution, Step, borrow};
use super::link::Link;
use super::links;
use super::mode::Mode;
use crate::catalog::NodeId;
use crate::error::Result;
use crate::remote::Statement;
use std::cell::RefCell;
use std::rc::Rc;

/// A cursor that is open on a node. Dropping it never fails and never waits: it is closed with the session's next request.
pub struct NodeCursor {
    node: NodeId,
    link: Rc<RefCell<Link>>,
    /// Quoted for SQL.
    name: String,
    /// Whether it locks rows.
    writes: bool,
}

impl NodeCursor {
    /// Declares it: `statement` is the whole DECLARE CURSOR. It sees the rows of this moment.
    pub fn declare(
        node: NodeId,
        name: &str,
        statement: &Statement<'_>,
        writes: bool,
    ) -> Result<Self> {
        let cursor = Self { node, link: links::link(node)?, name: name.to_owned(), writes };
        run_to_end(cursor.request(statement)?)?;
        Ok(cursor)
    }

    /// Where it is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Asks for the next rows, or the previous ones. `statement`: their formats and columns; its text is ignored.
    pub fn fetch(
        &self,
        count: u32,
        backward: bool,
        statement: &Statement<'_>,
    ) -> Result<Execution> {
        let direction = if backward { "BACKWARD" } else { "FORWARD" };
        let sql = format!("FETCH {direction} {count} FROM {}", self.name);
        self.request(&Statement { sql: sql.as_bytes(), ..*statement })
    }

    /// Moves it before its first row.
    pub fn rewind(&self) -> Result<()> {
        let sql = format!("MOVE ABSOLUTE 0 FROM {}", self.name);
        run_to_end(self.request(&Statement::plain(sql.as_bytes()))?)
    }

    fn request(&self, statement: &Statement<'_>) -> Result<Execution> {
        let mut link = borrow(&self.link)?;
        if link.session.is_lost() {
            return Err(links::lost_earlier(&link));
        }
        let stream = link.request(statement, Mode::Transaction, None, self.writes)?;
        drop(link);
        Ok(Execution::of_request(Rc::clone(&self.link), stream, self.writes))
    }
}

fn run_to_end(mut execution: Execution) -> Result<()> {
    while !matches!(execution.step(&mut |_| Ok(()))?, Step::Complete(_)) {}
    Ok(())
}

impl Drop for NodeCursor {
    fn drop(&mut self) {
        if let Ok(mut link) = self.link.try_borrow_mut() {
            link.close_cursor(unquoted(&self.name));
        }
    }
}

/// The name itself, as messages of the protocol have it.
fn unquoted(name: &str) -> Vec<u8> {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\"").into_bytes(),
        None => name.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn names_are_unquoted() {
        assert_eq!(unquoted("c"), b"c");
        assert_eq!(unquoted("\"<unnamed portal 1>\""), b"<unnamed portal 1>");
        assert_eq!(unquoted("\"a\"\"b\""), b"a\"b");
    }
}
