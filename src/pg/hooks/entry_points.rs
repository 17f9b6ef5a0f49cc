//! The functions that PostgreSQL looks up in the library by name: those of `LANGUAGE c` and the workers' main functions.
//!
//! `entry_points!` is used once in the crate, where the implementors of the hooks are known: it defines the symbols given,
//! each of which calls a function of `pg/` that is generic over an implementor. All have the same safety contract: they
//! are called by the server, with the arguments declared in the install script, from a frame without destructors.

/// Declares a function for `LANGUAGE c`. Its frame is not guarded, so that errors keep their fields.
macro_rules! sql_function {
    ($name:ident, $info:ident, $body:expr) => {
        /// The function manager's entry point.
        ///
        /// # Safety
        /// Called by the function manager.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(
            fcinfo: pgrx::pg_sys::FunctionCallInfo,
        ) -> pgrx::pg_sys::Datum {
            // SAFETY: the function manager's own arguments; nothing here has a destructor.
            unsafe { $body(fcinfo) }
        }

        /// Says which calling convention the function has.
        #[unsafe(no_mangle)]
        pub extern "C" fn $info() -> &'static pgrx::pg_sys::Pg_finfo_record {
            const INFO: pgrx::pg_sys::Pg_finfo_record =
                pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &INFO
        }
    };
}
pub(crate) use sql_function;

/// Declares a background worker's main function.
macro_rules! worker_main {
    ($name:ident, $body:expr) => {
        /// The main function of a background worker.
        ///
        /// # Safety
        /// Called by the server at the start of a background worker's process.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(argument: pgrx::pg_sys::Datum) {
            // SAFETY: the server's own argument; nothing here has a destructor.
            unsafe { $body(argument) }
        }
    };
}
pub(crate) use worker_main;

/// Defines the library's symbols: `functions` with their symbols and those of their info records, and the main functions of
/// `workers`.
macro_rules! entry_points {
    (
        functions { $($name:ident, $info:ident => $function:expr;)* }
        workers { $($main:ident => $worker:expr;)* }
    ) => {
        /// The symbols that PostgreSQL looks up in the library.
        #[allow(unsafe_code)]
        mod entry_points {
            use super::*;
            use $crate::pg::hooks::entry_points::{sql_function, worker_main};

            $(sql_function!($name, $info, $function);)*
            $(worker_main!($main, $worker);)*
        }
    };
}
pub(crate) use entry_points;
