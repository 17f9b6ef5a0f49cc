//! Moves a function or procedure between servers, after ALTER … SET SCHEMA has moved it to its new schema here.

use super::object_location::{self, Location};
use super::relocation_plan::Relocation;
use super::send::{self, run};
use crate::catalog::{self, NodeId};
use crate::error::Result;
use crate::pg::catalog::object::{self, Object};
use crate::pg::catalog::privileges;
use crate::pg::session::sql;
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::Oid;

/// Creates the routine on the nodes that need it, renames it where it stays, and drops it elsewhere.
pub(super) fn relocate(plan: &Relocation, statement: &Statement) -> Result<()> {
    let after: Vec<NodeId> = match object_location::of(plan.object)? {
        Some(Location::EveryNode) => catalog::remote_nodes()?.iter().map(|node| node.id).collect(),
        Some(Location::Node(place, _)) => vec![place.node],
        Some(Location::Coordinator(_)) | None => Vec::new(),
    };
    for &node in plan.nodes.iter().filter(|node| after.contains(node)) {
        send::own(node, statement)?;
    }
    let definition = definition(plan)?;
    let owner = owner_of_parsed(plan.object)?;
    let owner = owner.filter(|&owner| owner != privileges::current_user());
    let owner = owner.map(privileges::role_name);
    for &node in after.iter().filter(|node| !plan.nodes.contains(node)) {
        send::pinned(node, owner.as_deref(), || {
            // Its text may name tables of this server, which is no error until it is called.
            run(node, "SELECT pg_catalog.set_config('check_function_bodies', 'off', true)")?;
            definition.iter().try_for_each(|text| run(node, text))
        })?;
    }
    for &node in plan.nodes.iter().filter(|node| !after.contains(node)) {
        run(node, &format!("DROP ROUTINE {}", plan.old_name))?;
    }
    Ok(())
}

/// The owner of a routine with expressions that are parsed when it is created: defaults of arguments, a body in standard
/// SQL. Parsing a literal may run code, for instance the check of a domain, so the owner creates such a routine.
pub(super) fn owner_of_parsed(routine: Object) -> Result<Option<Oid>> {
    let select = "SELECT proowner FROM pg_proc
                   WHERE oid = $1 AND (proargdefaults IS NOT NULL OR prosqlbody IS NOT NULL)";
    sql::one::<Oid>(select, &[routine.id.into()])
}

/// Statements that create the routine, with owner, privileges and comment. None of them calls it.
fn definition(plan: &Relocation) -> Result<Vec<String>> {
    let name = object::identity(plan.object)?.unwrap_or_default();
    let select = "WITH routine AS (SELECT *, pg_get_userbyid(proowner) AS owner FROM pg_proc WHERE oid = $1)
                  SELECT text FROM (
                  SELECT 1 AS step, pg_get_functiondef(oid) AS text FROM routine
                  UNION ALL SELECT 2, format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, %I', $2, owner) FROM routine WHERE proacl IS NOT NULL
                  UNION ALL SELECT 3, format('GRANT %s ON ROUTINE %s TO %s%s', a.privilege_type, $2,
                                   CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                                   CASE WHEN a.is_grantable AND a.grantee <> r.proowner THEN ' WITH GRANT OPTION' END)
                    FROM routine r, aclexplode(r.proacl) AS a
                  UNION ALL SELECT 4, format('COMMENT ON ROUTINE %s IS %L', $2, d.description)
                    FROM routine r JOIN pg_description d ON d.classoid = 'pg_proc'::regclass AND d.objoid = r.oid
                  UNION ALL SELECT 5, format('ALTER ROUTINE %s OWNER TO %I', $2, owner) FROM routine WHERE proowner <> $3) AS s
                   ORDER BY step";
    let user = privileges::current_user();
    sql::rows(select, &[plan.object.id.into(), name.as_str().into(), user.into()], |row| {
        row.value("text")
    })
}
