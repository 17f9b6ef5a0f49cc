//! All upcalls from PostgreSQL on one page: what the server calls, and what handles it.
//!
//! `pg/hooks/` has the functions that PostgreSQL calls; they are generic over the traits implemented here, so that the
//! compiler, and an editor's "go to implementation", lead from the hook to the module that does the work.
//!
//! Invariant: no decisions are made here. A line names the module; comments explain required orders.

use crate::catalog::trigger_functions::{DirectoryChanged, FenceChanged};
use crate::error::Result;
use crate::executor::reference_triggers::{ReferenceCopy, ReferenceWrite};
use crate::executor::{
    self, function_calls, reference_change, reference_writes, scalar, scan::NodeScan,
    server_functions,
};
use crate::pg::catalog::object::Object;
use crate::pg::exec::coordinators_calls::CoordinatorHooks;
use crate::pg::exec::copy_change::{self, Accepted, CopyChangeHooks, Request};
use crate::pg::exec::evaluate::{self, EvaluateHooks, Evaluation};
use crate::pg::exec::part_path::{PartHooks, Size};
use crate::pg::exec::redirected_calls::{self, RedirectHooks, RelationCall, SequenceCall};
use crate::pg::exec::remote_plan::RemotePlan;
use crate::pg::exec::{open_portals, shipped_rows, triggers};
use crate::pg::hooks::Hooks;
use crate::pg::hooks::executor::{ExecutorHooks, PlannedRelation};
use crate::pg::hooks::function_calls::FunctionHooks;
use crate::pg::hooks::object_access::{Event as ObjectEvent, ObjectHooks};
use crate::pg::hooks::planner::{Planned, PlannerHooks, Review};
use crate::pg::hooks::run_by::RunBy;
use crate::pg::hooks::utility::{Completion, Step, UtilityHooks};
use crate::pg::ipc::worker::{self, Assignment, DatabaseWorker, ServerWorker};
use crate::pg::session::xact::{Event, TransactionHooks};
use crate::pg::tree::QueryTree;
use crate::pg::tree::statement::Statement;
use crate::pg::tree::utility_view::{CallView, CopyView};
use crate::shared::{directory_version, worker_slots};
use crate::{catalog, ddl, planner, transaction, workers};
use pgrx::pg_sys::Oid;

/// The one implementor of all hooks.
pub struct Helios;

impl Hooks for Helios {}

// post_parse_analyze_hook, planner_hook
impl PlannerHooks for Helios {
    fn analyzed(query: QueryTree<'_>, source: &[u8], named_variables: bool) -> Result<()> {
        planner::remote_query::remember(query, source, named_variables)
    }
    fn plan<'a>(query: QueryTree<'a>, source: &[u8]) -> Result<Planned<'a>> {
        planner::plan(query, source)
    }
    fn ship(query: QueryTree<'_>, fetched_rows: f64) -> Result<Option<RemotePlan>> {
        planner::shipped::read(query, fetched_rows)
    }
    fn may_inline(query: QueryTree<'_>) -> bool {
        planner::may_inline(query)
    }
    fn review(relations: &mut dyn Iterator<Item = Oid>) -> Result<Review> {
        planner::review(relations)
    }
}

// set_rel_pathlist_hook, get_relation_info_hook
impl PartHooks for Helios {
    fn is_elsewhere(relation: Oid) -> Result<bool> {
        planner::relations::is_elsewhere(relation)
    }
    fn namespaces(query: QueryTree<'_>) -> Result<Vec<Oid>> {
        planner::parts::namespaces(query)
    }
    fn rows(query: QueryTree<'_>) -> Result<f64> {
        planner::parts::rows(query)
    }
    fn size(relation: Oid) -> Result<Option<Size>> {
        planner::sizes::of(relation)
    }
}

// ExecutorStart_hook, ExecutorRun_hook, ExecutorFinish_hook, the custom scan
impl ExecutorHooks for Helios {
    type Scan = NodeScan;

    fn check_relations(relations: &mut dyn Iterator<Item = PlannedRelation>) -> Result<()> {
        planner::guard(relations)
    }
    fn check_written(relations: &mut dyn Iterator<Item = Oid>) -> Result<()> {
        catalog::fences::check_writes(relations)
    }
    fn statement_ended() {
        transaction::close_portals();
    }
}

// ProcessUtility_hook
impl UtilityHooks for Helios {
    fn before_utility(statement: &Statement) -> Result<Step> {
        ddl::before(statement)
    }
    fn after_utility(frame: usize, statement: &Statement) -> Result<Option<Completion>> {
        ddl::after(frame, statement)
    }
    fn copy(view: &CopyView, statement: &Statement) -> Result<RunBy<u64>> {
        executor::utility::copy(view, statement)
    }
    fn call(view: &CallView, statement: &Statement) -> Result<RunBy> {
        executor::utility::call(view, statement)
    }
    fn explained_table(namespace: Oid) -> Result<()> {
        executor::utility::explained_table(namespace)
    }
    fn settings_changed() {
        transaction::note_settings_changed();
    }
    fn statements_dropped() {
        transaction::close_sessions();
    }
}

// object_access_hook, and transaction callbacks for the recorded objects
impl ObjectHooks for Helios {
    fn record(event: ObjectEvent, object: Object) -> Result<()> {
        ddl::statement_scope::record(event, object)
    }
    fn touches(object: Object) -> Result<()> {
        ddl::touches(object)
    }
    fn recording_failed(level: i32) {
        ddl::statement_scope::forget_statements(level);
    }
}

// object_access_hook, OAT_FUNCTION_EXECUTE
impl FunctionHooks for Helios {
    fn is_watched(function: Oid) -> bool {
        server_functions::is_watched(function)
    }
    fn check_function(function: Oid) -> Result<()> {
        function_calls::check(function)
    }
}

// RegisterXactCallback, RegisterSubXactCallback
impl TransactionHooks for Helios {
    fn transaction(event: Event) -> Result<()> {
        // Whatever fails below, state of an ended transaction must not be found by the next one.
        if let Some(level) = event.ended_level() {
            reference_writes::forget(level);
        }
        transaction::callbacks::on_event(event)
    }
    // After the commit on the nodes, because others look for the change there.
    fn after_transaction(event: Event) -> Result<()> {
        directory_version::on_event(event)
    }
}

// helios.open_portals(), helios.receive_rows() and so on
impl CoordinatorHooks for Helios {
    fn is_coordinators() -> bool {
        catalog::proof::is_coordinators()
    }
}

// helios.evaluate()
impl EvaluateHooks for Helios {
    fn evaluate(evaluation: Evaluation) -> Result<Option<Vec<u8>>> {
        scalar::evaluate(evaluation)
    }
}

// helios.routed_nextval() and so on, which replace PostgreSQL's functions in plans
impl RedirectHooks for Helios {
    fn sequence(sequence: Oid, call: SequenceCall) -> Result<Option<i64>> {
        scalar::sequence(sequence, call)
    }
    fn relation_data(relation: Oid, call: RelationCall) -> Result<Option<Option<i64>>> {
        scalar::relation_data(relation, call)
    }
    fn redirected_call_ended() {
        scalar::done();
    }
    fn set_config_called() {
        transaction::note_settings_changed();
    }
    fn snapshot_exported(identifier: &str) -> Result<String> {
        transaction::snapshots::export(identifier)
    }
}

// helios.change_copy()
impl CopyChangeHooks for Helios {
    fn accept(request: &Request) -> Result<Accepted> {
        reference_change::accept(request)
    }
}

// Main functions of background workers
struct Launcher;
struct Worker;
struct MigrationWorker;

impl ServerWorker for Launcher {
    fn run() {
        workers::launcher();
    }
}
impl DatabaseWorker for Worker {
    fn run(assignment: Assignment) {
        worker_slots::arrive();
        workers::run(assignment.database);
    }
}
impl DatabaseWorker for MigrationWorker {
    fn run(assignment: Assignment) {
        worker_slots::arrive_for_migration();
        workers::migrations::run(assignment.task);
    }
}

// The library's symbols: functions of LANGUAGE c, and the workers' main functions
crate::pg::hooks::entry_points::entry_points! {
    functions {
        helios_evaluate_wrapper, pg_finfo_helios_evaluate_wrapper => evaluate::evaluate::<Helios>;
        helios_open_portals_wrapper, pg_finfo_helios_open_portals_wrapper => open_portals::open_portals::<Helios>;
        helios_receive_rows_wrapper, pg_finfo_helios_receive_rows_wrapper => shipped_rows::receive::<Helios>;
        helios_shipped_rows_wrapper, pg_finfo_helios_shipped_rows_wrapper => shipped_rows::rows::<Helios>;
        helios_shipped_rows_support_wrapper, pg_finfo_helios_shipped_rows_support_wrapper => shipped_rows::support;
        helios_forget_rows_wrapper, pg_finfo_helios_forget_rows_wrapper => shipped_rows::forget::<Helios>;
        helios_change_copy_wrapper, pg_finfo_helios_change_copy_wrapper => copy_change::change_copy::<Helios>;
        helios_directory_changed_wrapper, pg_finfo_helios_directory_changed_wrapper => triggers::run::<DirectoryChanged>;
        helios_fence_changed_wrapper, pg_finfo_helios_fence_changed_wrapper => triggers::run::<FenceChanged>;
        helios_reference_write_wrapper, pg_finfo_helios_reference_write_wrapper => triggers::run::<ReferenceWrite>;
        helios_reference_copy_wrapper, pg_finfo_helios_reference_copy_wrapper => triggers::run::<ReferenceCopy>;
        helios_nextval_wrapper, pg_finfo_helios_nextval_wrapper => redirected_calls::nextval::<Helios>;
        helios_currval_wrapper, pg_finfo_helios_currval_wrapper => redirected_calls::currval::<Helios>;
        helios_setval_wrapper, pg_finfo_helios_setval_wrapper => redirected_calls::setval::<Helios>;
        helios_setval3_wrapper, pg_finfo_helios_setval3_wrapper => redirected_calls::setval3::<Helios>;
        helios_set_config_wrapper, pg_finfo_helios_set_config_wrapper => redirected_calls::set_config::<Helios>;
        helios_relation_size_wrapper, pg_finfo_helios_relation_size_wrapper => redirected_calls::relation_size::<Helios>;
        helios_total_size_wrapper, pg_finfo_helios_total_size_wrapper => redirected_calls::total_size::<Helios>;
        helios_table_size_wrapper, pg_finfo_helios_table_size_wrapper => redirected_calls::table_size::<Helios>;
        helios_indexes_size_wrapper, pg_finfo_helios_indexes_size_wrapper => redirected_calls::indexes_size::<Helios>;
        helios_last_value_wrapper, pg_finfo_helios_last_value_wrapper => redirected_calls::last_value::<Helios>;
        helios_export_snapshot_wrapper, pg_finfo_helios_export_snapshot_wrapper => redirected_calls::export_snapshot::<Helios>;
    }
    workers {
        helios_launcher_main => worker::server_worker::<Launcher>;
        helios_worker_main => worker::database_worker::<Worker>;
        helios_migration_main => worker::database_worker::<MigrationWorker>;
    }
}
