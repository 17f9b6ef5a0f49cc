//! Safe views of the utility statements that move rows: COPY and CALL.

use crate::error::Result;
use crate::pg::exec::decode::{self, RowDecoder};
use crate::pg::exec::params::Params;
use crate::pg::exec::result_columns::{self, ResultColumns};
use crate::pg::tree::function_rules::{FunctionRules, NoRules};
use crate::pg::tree::list;
use crate::pg::tree::{ParamUse, Survey, survey_expression};
use pgrx::pg_sys::{self, Oid};
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr;

/// A COPY statement.
pub struct CopyView {
    statement: *mut pg_sys::CopyStmt,
}

impl CopyView {
    /// # Safety
    /// `statement` is a valid CopyStmt that outlives the view.
    pub(in crate::pg) unsafe fn new(statement: *mut pg_sys::CopyStmt) -> Self {
        Self { statement }
    }

    fn get(&self) -> &pg_sys::CopyStmt {
        // SAFETY: by the promise of `new`.
        unsafe { &*self.statement }
    }

    /// The relation that is copied, locked as COPY locks it; `None` for a query, or if there is no such relation.
    pub fn relation(&self) -> Option<Oid> {
        let statement = self.get();
        if statement.relation.is_null() {
            return None;
        }
        let mode =
            if statement.is_from { pg_sys::RowExclusiveLock } else { pg_sys::AccessShareLock };
        // SAFETY: a valid range variable; a missing relation returns an invalid OID.
        let oid = unsafe {
            pg_sys::RangeVarGetRelidExtended(
                statement.relation,
                mode as c_int,
                pg_sys::RVROption::RVR_MISSING_OK,
                None,
                ptr::null_mut(),
            )
        };
        (oid != Oid::INVALID).then_some(oid)
    }

    /// What the defaults of the columns that COPY … FROM does not list do with relations that they name: the server
    /// computes these defaults without planning a query.
    pub fn defaults<R: FunctionRules>(&self, relation: Oid) -> Survey<'_> {
        let mut survey = Survey::default();
        // SAFETY: the relation is locked to the end of the transaction and stays open while its descriptor is read; the
        // expressions are made here, as COPY makes them, in memory of the statement.
        unsafe {
            let listed: Vec<String> = crate::pg::tree::list::iter((*self.statement).attlist)
                .filter_map(|name| crate::pg::tree::parse_nodes::string(name))
                .collect();
            let opened = pg_sys::relation_open(relation, pg_sys::AccessShareLock as c_int);
            for number in 1..=(*(*opened).rd_rel).relnatts {
                let name =
                    crate::pg::tree::parse_nodes::text(pg_sys::get_attname(relation, number, true));
                let given = listed.is_empty() || name.is_none_or(|name| listed.contains(&name));
                let dropped = pg_sys::get_atttype(relation, number) == Oid::INVALID;
                if given || dropped || pg_sys::get_attgenerated(relation, number) != 0 {
                    continue;
                }
                let default = pg_sys::build_column_default(opened, number.into());
                if !default.is_null() {
                    let planned = pg_sys::expression_planner(default.cast());
                    survey.add_expression::<R>(planned.cast());
                }
            }
            pg_sys::relation_close(opened, pg_sys::NoLock as c_int);
        }
        survey
    }

    /// The first column that cannot travel in binary form between two servers, if that form is wanted.
    pub fn column_without_portable_binary(&self, relation: Oid) -> Option<String> {
        // SAFETY: the option list and the column list of a valid statement; syscache lookups.
        unsafe {
            let format = crate::pg::tree::parse_nodes::option((*self.statement).options, "format");
            if format.as_deref() != Some("binary") {
                return None;
            }
            let listed: Vec<String> = crate::pg::tree::list::iter((*self.statement).attlist)
                .filter_map(|name| crate::pg::tree::parse_nodes::string(name))
                .collect();
            let copied = (1..=pg_sys::AttrNumber::MAX)
                .map_while(|n| {
                    Some((
                        n,
                        crate::pg::tree::parse_nodes::text(pg_sys::get_attname(relation, n, true))?,
                    ))
                })
                .filter(|(_, name)| listed.is_empty() || listed.contains(name));
            copied.into_iter().find_map(|(number, name)| {
                let of_type = pg_sys::get_atttype(relation, number);
                (of_type != Oid::INVALID && crate::pg::exec::params::binary_holds_oids(of_type))
                    .then_some(name)
            })
        }
    }

    /// `COPY … FROM`.
    pub fn is_from(&self) -> bool {
        self.get().is_from
    }

    /// The file or program on the server, with whether it is a program; `None` for the client.
    pub fn server_side(&self) -> Option<(String, bool)> {
        let statement = self.get();
        if statement.filename.is_null() {
            return None;
        }
        // SAFETY: a NUL-terminated string of the tree.
        let name = unsafe { CStr::from_ptr(statement.filename) }.to_string_lossy().into_owned();
        Some((name, statement.is_program))
    }
}

/// A CALL statement with its parameters and the place for its result.
pub struct CallView {
    statement: *mut pg_sys::CallStmt,
    params: pg_sys::ParamListInfo,
    dest: *mut pg_sys::DestReceiver,
}

impl CallView {
    /// # Safety
    /// All three are valid (or null, the parameters) and outlive the view.
    pub(in crate::pg) unsafe fn new(
        statement: *mut pg_sys::CallStmt,
        params: pg_sys::ParamListInfo,
        dest: *mut pg_sys::DestReceiver,
    ) -> Self {
        Self { statement, params, dest }
    }

    fn function(&self) -> &pg_sys::FuncExpr {
        // SAFETY: an analyzed CALL has its function expression.
        unsafe { &*(*self.statement).funcexpr }
    }

    /// The procedure.
    pub fn procedure(&self) -> Oid {
        self.function().funcid
    }

    /// Whether it has OUT arguments, which stand in the text but not among the expressions.
    pub fn has_out_arguments(&self) -> bool {
        // SAFETY: null or a list.
        unsafe { list::len((*self.statement).outargs) > 0 }
    }

    /// References to parameters in the arguments.
    pub fn param_uses(&self) -> Vec<ParamUse> {
        // SAFETY: a valid expression.
        unsafe { survey_expression::<NoRules>((*self.statement).funcexpr.cast()) }.params
    }

    /// `CALL …` with the arguments deparsed by PostgreSQL.
    pub fn deparsed(&self) -> Vec<u8> {
        // SAFETY: a valid expression without variables; returns a palloc'd C string.
        let expression = unsafe {
            CStr::from_ptr(pg_sys::deparse_expression(
                (*self.statement).funcexpr.cast(),
                ptr::null_mut(),
                true,
                false,
            ))
        };
        [b"CALL ", expression.to_bytes()].concat()
    }

    /// The parameters, serialised for a node.
    pub fn params(&self, count: i32) -> Params {
        // SAFETY: null or a valid parameter list.
        unsafe { Params::collect(self.params, count) }
    }

    /// What the columns of the result row must be.
    pub fn columns(&self) -> ResultColumns {
        // SAFETY: an analyzed CALL; the descriptor is palloc'd or null.
        unsafe {
            let descriptor = pg_sys::CallStmtResultDesc(self.statement);
            match descriptor.is_null() {
                true => ResultColumns::default(),
                false => result_columns::of_descriptor(descriptor),
            }
        }
    }

    /// Starts the output of the result row; `None` if the procedure returns none.
    pub fn output(&self) -> Result<Option<RowOutput<'_>>> {
        // SAFETY: an analyzed CALL; the descriptor is palloc'd or null.
        unsafe {
            let descriptor = pg_sys::CallStmtResultDesc(self.statement);
            (!descriptor.is_null() && (*descriptor).natts > 0)
                .then(|| RowOutput::new(self.dest, descriptor))
                .transpose()
        }
    }
}

/// Rows from a node on their way to a statement's destination.
pub struct RowOutput<'a> {
    dest: *mut pg_sys::DestReceiver,
    call: PhantomData<&'a pg_sys::CallStmt>,
    slot: *mut pg_sys::TupleTableSlot,
    decoder: RowDecoder,
}

impl RowOutput<'_> {
    /// # Safety
    /// Both are valid and outlive the lifetime of the output.
    unsafe fn new(dest: *mut pg_sys::DestReceiver, descriptor: pg_sys::TupleDesc) -> Result<Self> {
        // SAFETY: by the caller's promise; the guard's closure owns nothing.
        unsafe {
            let decoder = RowDecoder::new(descriptor)?;
            let slot = pg_sys::MakeSingleTupleTableSlot(descriptor, &pg_sys::TTSOpsVirtual);
            let startup = (*dest).rStartup;
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                if let Some(startup) = startup {
                    startup(dest, pg_sys::CmdType::CMD_SELECT as c_int, descriptor);
                }
            });
            Ok(Self { dest, call: PhantomData, slot, decoder })
        }
    }

    /// Sends one row (the body of a DataRow message, text format).
    pub fn row(&mut self, row: &[u8]) -> Result<()> {
        // SAFETY: slot and decoder belong together; the values live in the statement's memory.
        unsafe {
            self.decoder.decode(row, self.slot, pg_sys::CurrentMemoryContext)?;
            let (dest, slot, receive) = (self.dest, self.slot, (*self.dest).receiveSlot);
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                if let Some(receive) = receive {
                    receive(slot, dest);
                }
            });
            decode::clear(self.slot);
        }
        Ok(())
    }

    /// Ends the output.
    pub fn finish(self) {
        // SAFETY: as in `new`.
        unsafe {
            let (dest, shutdown) = (self.dest, (*self.dest).rShutdown);
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                if let Some(shutdown) = shutdown {
                    shutdown(dest);
                }
            });
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
        }
    }
}
