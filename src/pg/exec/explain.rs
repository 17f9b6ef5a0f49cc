//! Output of EXPLAIN for a scan, and the EXPLAIN being executed.

use crate::pg::exec::nesting;
use crate::pg::tree::list;
use pgrx::pg_sys::{self, NodeTag, Oid};
use std::ffi::{CStr, CString};

/// Output of a running EXPLAIN.
pub struct ExplainOutput {
    state: *mut pg_sys::ExplainState,
}

/// The output formats of EXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Indented lines.
    Text,
    /// XML, JSON or YAML, by its name.
    Structured(&'static str),
}

impl ExplainOutput {
    /// # Safety
    /// `state` is valid while the output is used.
    pub(in crate::pg) unsafe fn new(state: *mut pg_sys::ExplainState) -> Self {
        Self { state }
    }

    /// Adds a property with a text value.
    pub fn property(&mut self, label: &str, value: &str) {
        let label = CString::new(label).unwrap_or_default();
        let value = CString::new(value.replace('\0', " ")).unwrap_or_default();
        // SAFETY: EXPLAIN's own state; the strings live until the call returns.
        unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), self.state) }
    }

    /// Adds lines below the current plan node (text format).
    pub fn lines(&mut self, lines: &[String]) {
        // SAFETY: EXPLAIN's own state and its string buffer.
        unsafe {
            let indent = " ".repeat((*self.state).indent.max(0) as usize * 2 + 2);
            for line in lines {
                let text = CString::new(format!("{indent}{line}\n")).unwrap_or_default();
                pg_sys::appendStringInfoString((*self.state).str_, text.as_ptr());
            }
        }
    }

    /// The requested format.
    pub fn format(&self) -> Format {
        // SAFETY: EXPLAIN's own state.
        match unsafe { (*self.state).format } {
            pg_sys::ExplainFormat::EXPLAIN_FORMAT_XML => Format::Structured("XML"),
            pg_sys::ExplainFormat::EXPLAIN_FORMAT_JSON => Format::Structured("JSON"),
            pg_sys::ExplainFormat::EXPLAIN_FORMAT_YAML => Format::Structured("YAML"),
            _ => Format::Text,
        }
    }
}

/// Records an EXPLAIN that begins, with the client's options.
///
/// # Safety
/// `statement` is a valid ExplainStmt.
pub(in crate::pg) unsafe fn begins(statement: *mut pg_sys::ExplainStmt) {
    let mut options = Vec::new();
    let mut analyze = false;
    // SAFETY: by the caller's promise, the options are a list of DefElem; defGetString returns a C string.
    unsafe {
        for option in list::iter::<pg_sys::DefElem>((*statement).options) {
            let name = CStr::from_ptr((*option).defname).to_string_lossy().into_owned();
            if name == "analyze" {
                analyze = pg_sys::defGetBoolean(option);
            }
            options.push(if (*option).arg.is_null() {
                name
            } else {
                let value = CStr::from_ptr(pg_sys::defGetString(option));
                format!("{name} {}", value.to_string_lossy())
            });
        }
    }
    nesting::explain_begins(options.join(", "), analyze);
}

/// Namespace of the table that an `EXPLAIN ANALYZE CREATE TABLE AS` would create.
///
/// # Safety
/// `statement` is a valid, analyzed ExplainStmt.
pub(in crate::pg) unsafe fn made_in(statement: *mut pg_sys::ExplainStmt) -> Option<Oid> {
    if !nesting::explain_executes() {
        return None;
    }
    // SAFETY: by the caller's promise; the casts follow the tags.
    unsafe {
        let query = (*statement).query;
        if query.is_null() || (*query).type_ != NodeTag::T_Query {
            return None;
        }
        let inner = (*query.cast::<pg_sys::Query>()).utilityStmt;
        if inner.is_null() || (*inner).type_ != NodeTag::T_CreateTableAsStmt {
            return None;
        }
        let into = (*inner.cast::<pg_sys::CreateTableAsStmt>()).into;
        Some(pg_sys::RangeVarGetCreationNamespace((*into).rel))
    }
}
