//! The functions that PostgreSQL looks up in the library by name: those of `LANGUAGE c` and the workers' main functions.
//!
//! A symbol cannot be generic, so it is made where the implementor of the hooks is known: `entry_points!(Implementor)` stands
//! once in the crate, and each symbol calls a function of `pg/` that is generic over the implementor.

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

/// Makes the library's symbols for one implementor of [`Hooks`](super::Hooks).
macro_rules! entry_points {
    ($hooks:ty) => {
        /// The symbols that PostgreSQL looks up in the library.
        #[allow(unsafe_code)]
        mod entry_points {
            use super::*;
            use $crate::pg::hooks::entry_points::{sql_function, worker_main};

            sql_function!(
                helios_evaluate_wrapper,
                pg_finfo_helios_evaluate_wrapper,
                $crate::pg::exec::evaluate::evaluate::<$hooks>
            );
            sql_function!(
                helios_change_copy_wrapper,
                pg_finfo_helios_change_copy_wrapper,
                $crate::pg::exec::copy_change::change_copy::<$hooks>
            );
            sql_function!(
                helios_directory_changed_wrapper,
                pg_finfo_helios_directory_changed_wrapper,
                $crate::pg::exec::triggers::directory_changed::<$hooks>
            );
            sql_function!(
                helios_fence_changed_wrapper,
                pg_finfo_helios_fence_changed_wrapper,
                $crate::pg::exec::triggers::fence_changed::<$hooks>
            );
            sql_function!(
                helios_reference_write_wrapper,
                pg_finfo_helios_reference_write_wrapper,
                $crate::pg::exec::triggers::reference_write::<$hooks>
            );
            sql_function!(
                helios_reference_copy_wrapper,
                pg_finfo_helios_reference_copy_wrapper,
                $crate::pg::exec::triggers::reference_copy::<$hooks>
            );
            sql_function!(
                helios_nextval_wrapper,
                pg_finfo_helios_nextval_wrapper,
                $crate::pg::tree::redirect::nextval::<$hooks>
            );
            sql_function!(
                helios_currval_wrapper,
                pg_finfo_helios_currval_wrapper,
                $crate::pg::tree::redirect::currval::<$hooks>
            );
            sql_function!(
                helios_setval_wrapper,
                pg_finfo_helios_setval_wrapper,
                $crate::pg::tree::redirect::setval::<$hooks>
            );
            sql_function!(
                helios_setval3_wrapper,
                pg_finfo_helios_setval3_wrapper,
                $crate::pg::tree::redirect::setval3::<$hooks>
            );
            sql_function!(
                helios_set_config_wrapper,
                pg_finfo_helios_set_config_wrapper,
                $crate::pg::tree::redirect::set_config::<$hooks>
            );
            sql_function!(
                helios_relation_size_wrapper,
                pg_finfo_helios_relation_size_wrapper,
                $crate::pg::tree::redirect::relation_size::<$hooks>
            );
            sql_function!(
                helios_total_size_wrapper,
                pg_finfo_helios_total_size_wrapper,
                $crate::pg::tree::redirect::total_size::<$hooks>
            );
            sql_function!(
                helios_table_size_wrapper,
                pg_finfo_helios_table_size_wrapper,
                $crate::pg::tree::redirect::table_size::<$hooks>
            );
            sql_function!(
                helios_indexes_size_wrapper,
                pg_finfo_helios_indexes_size_wrapper,
                $crate::pg::tree::redirect::indexes_size::<$hooks>
            );
            sql_function!(
                helios_last_value_wrapper,
                pg_finfo_helios_last_value_wrapper,
                $crate::pg::tree::redirect::last_value::<$hooks>
            );
            sql_function!(
                helios_export_snapshot_wrapper,
                pg_finfo_helios_export_snapshot_wrapper,
                $crate::pg::tree::redirect::export_snapshot::<$hooks>
            );

            worker_main!(helios_launcher_main, $crate::pg::ipc::worker::launcher::<$hooks>);
            worker_main!(helios_worker_main, $crate::pg::ipc::worker::database_worker::<$hooks>);
            worker_main!(
                helios_migration_main,
                $crate::pg::ipc::worker::migration_worker::<$hooks>
            );
        }
    };
}
pub(crate) use entry_points;
