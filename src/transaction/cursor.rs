//! A cursor on a node, which PostgreSQL's own DECLARE, FETCH and MOVE work on.
//!
//! Its name is one that nobody else uses: names of cursors here and of those that functions open on the node are apart, and what
//! a function does there moves no cursor of this server's.

use super::execution::{Execution, Step, borrow};
use super::link::Link;
use super::links;
use super::mode::Mode;
use crate::catalog::NodeId;
use crate::error::{Error, Result};
use crate::remote::{Statement, text_row};
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::cell::RefCell;
use std::rc::Rc;

/// A cursor that is open on a node. Dropping it never fails and never waits: it is closed with the session's next request.
pub struct NodeCursor {
    node: NodeId,
    link: Rc<RefCell<Link>>,
    number: u32,
    name: String,
    /// Whether it locks rows.
    writes: bool,
}

impl NodeCursor {
    /// Declares it; it sees the rows of this moment. `options`: what stands before CURSOR. `query`: its text and parameters.
    ///
    /// Gives also whether it can move backward.
    pub fn declare(
        node: NodeId,
        options: &str,
        query: &Statement<'_>,
        writes: bool,
    ) -> Result<(Self, bool)> {
        let link = links::link(node)?;
        let (number, name) = {
            let mut link = borrow(&link)?;
            let number = link.new_portal();
            (number, String::from_utf8_lossy(&link.portal_name(number)).into_owned())
        };
        let cursor = Self { node, link, number, name, writes };
        let name = &cursor.name;
        let before = format!("DECLARE {name} {options} CURSOR FOR ");
        let sql = [before.as_bytes(), query.sql].concat();
        let declaration = Statement { sql: &sql, ..*query };
        let question = format!(
            "SELECT is_scrollable FROM pg_catalog.pg_cursors WHERE name OPERATOR(pg_catalog.=) '{name}'"
        );
        let mut execution =
            cursor.request(Some(&declaration), &Statement::plain(question.as_bytes()))?;
        let mut scrolls = false;
        loop {
            let step = execution.step(&mut |row| {
                scrolls = text_row(row).first().is_some_and(|value| value.as_deref() == Some("t"));
                Ok(())
            });
            match step {
                Ok(Step::Complete(_)) => return Ok((cursor, scrolls)),
                Ok(_) => {}
                Err(mut error) => {
                    // Counted in the query's own text.
                    if let Some(position) = &mut error.fields_mut().position {
                        *position -= before.len() as i32;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Where it is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Its name there, if a statement for this node would run in the same session.
    pub fn name_in_session(&self, node: NodeId) -> Result<Option<&str>> {
        let same = node == self.node && Rc::ptr_eq(&self.link, &links::link(node)?);
        Ok(same.then_some(self.name.as_str()))
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
        self.request(None, &Statement { sql: sql.as_bytes(), reuse: true, ..*statement })
    }

    /// Moves it before its first row.
    pub fn rewind(&self) -> Result<()> {
        let sql = format!("MOVE ABSOLUTE 0 FROM {}", self.name);
        let mut execution = self.request(None, &Statement::plain(sql.as_bytes()))?;
        while !matches!(execution.step(&mut |_| Ok(()))?, Step::Complete(_)) {}
        Ok(())
    }

    /// Sends a statement, and another one before it, if there is one.
    fn request(
        &self,
        ahead: Option<&Statement<'_>>,
        statement: &Statement<'_>,
    ) -> Result<Execution> {
        let mut link = borrow(&self.link)?;
        if link.session.is_lost() {
            return Err(links::lost_earlier(&link));
        }
        let Some(level) = link.portal_level(self.number) else {
            return Err(Error::new(
                PgSqlErrorCode::ERRCODE_INVALID_CURSOR_NAME,
                "cannot fetch from a cursor on the node because its transaction has ended",
            ));
        };
        let written = link.begin(Mode::Transaction, self.writes).and_then(|()| {
            ahead.map_or(Ok(()), |ahead| link.ahead_of(ahead))?;
            link.bind(statement, None)?;
            link.execute(None)?;
            if self.writes { link.ask_for_id() } else { Ok(()) }
        });
        if let Err(error) = written {
            link.discard_request();
            return Err(error);
        }
        let stream = link.submit_at(level)?;
        drop(link);
        Ok(Execution::of_request(Rc::clone(&self.link), stream, self.writes))
    }
}

impl Drop for NodeCursor {
    fn drop(&mut self) {
        if let Ok(mut link) = self.link.try_borrow_mut() {
            link.close_portal(self.number);
        }
    }
}
