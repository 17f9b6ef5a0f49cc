//! The current user, and privileges.

use crate::error::{Error, Result};
use crate::pg::catalog::table::{Column, catalog_table, system_rows};
use crate::pg::catalog::types;
use crate::pg::session::own_settings::OwnSettings;
use pgrx::pg_sys::{self, errcodes::PgSqlErrorCode as Code};
use std::ffi::CStr;

/// Runs as another role until dropped.
pub struct RunAs {
    role: pg_sys::Oid,
    context: i32,
    /// A safe `search_path` if code may run.
    _path: Option<OwnSettings>,
}

impl RunAs {
    /// Switches to `role` for catalog work: without row-level security; SET ROLE is blocked meanwhile.
    pub fn role(role: pg_sys::Oid) -> Self {
        let (mut before, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: the calls change backend-local variables.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before, &mut context);
            let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
            pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
        }
        Self { role: before, context, _path: Some(OwnSettings::safe_path()) }
    }

    /// Switches to `role` for work that may run that role's code: it cannot switch to another role, and leaves nothing
    /// behind that would later run as another role.
    pub fn restricted(role: pg_sys::Oid) -> Self {
        let (mut before, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: the calls change backend-local variables.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before, &mut context);
            let flags = pg_sys::SECURITY_RESTRICTED_OPERATION | pg_sys::SECURITY_NOFORCE_RLS;
            pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
        }
        Self { role: before, context, _path: Some(OwnSettings::safe_path()) }
    }

    /// Switches to the user outside of SECURITY DEFINER functions and referential actions. Only for work that does not
    /// run users' code on this server.
    pub fn session() -> Self {
        let (mut before, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: the calls change backend-local variables.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before, &mut context);
            pg_sys::SetUserIdAndSecContext(pg_sys::GetOuterUserId(), 0);
        }
        Self { role: before, context, _path: None }
    }

    /// [`Self::restricted`] as the owner of a relation.
    pub fn owner_of(relation: pg_sys::Oid) -> Result<Self> {
        Ok(Self::restricted(owner_of_relation(relation)?))
    }
}

impl Drop for RunAs {
    fn drop(&mut self) {
        // SAFETY: restores what `role` saved.
        unsafe { pg_sys::SetUserIdAndSecContext(self.role, self.context) }
    }
}

/// Owner of a relation.
pub fn owner_of_relation(relation: pg_sys::Oid) -> Result<pg_sys::Oid> {
    // SAFETY: the tuple is released after its one field was read.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(relation),
        );
        if tuple.is_null() {
            return Err(Error::new(
                Code::ERRCODE_UNDEFINED_TABLE,
                format!("relation with OID {} does not exist", relation.to_u32()),
            ));
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(tuple);
        Ok(owner)
    }
}

/// The user for permission checks.
pub fn current_user() -> pg_sys::Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetUserId() }
}

/// The user outside of SECURITY DEFINER functions: the session user, or the role set by SET ROLE.
pub fn outer_user() -> pg_sys::Oid {
    // SAFETY: reads a backend-local variable.
    unsafe { pg_sys::GetOuterUserId() }
}

/// Whether the code is called by a foreign key's ON DELETE or ON UPDATE action, as the owner of the referencing table.
/// Nothing else that clients can start sets these flags.
pub fn in_referential_action() -> bool {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads backend-local variables.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut context) };
    let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
    context as u32 & flags == flags
}

/// Whether a role has each of these privileges on a whole relation, and USAGE on its schema.
pub fn may_do(role: pg_sys::Oid, relation: pg_sys::Oid, wanted: &[u32]) -> bool {
    // SAFETY: syscache lookups.
    unsafe {
        let (namespace, usage) =
            (pg_sys::get_rel_namespace(relation), pg_sys::ACL_USAGE as pg_sys::AclMode);
        let ok = pg_sys::AclResult::ACLCHECK_OK;
        #[cfg(feature = "pg15")]
        let may_name = pg_sys::pg_namespace_aclcheck(namespace, role, usage);
        #[cfg(not(feature = "pg15"))]
        let may_name = pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, namespace, role, usage);
        let may =
            |mode: &u32| pg_sys::pg_class_aclcheck(relation, role, *mode as pg_sys::AclMode) == ok;
        may_name == ok && wanted.iter().all(may)
    }
}

/// Whether the current user is a superuser.
pub fn is_superuser() -> bool {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::superuser() }
}

/// Name of a role.
pub fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: the result is a palloc'd C string.
    unsafe { CStr::from_ptr(pg_sys::GetUserNameFromId(role, false)) }.to_string_lossy().into_owned()
}

/// The role that the client logged in as, regardless of SET SESSION AUTHORIZATION; `None` if it no longer exists, or
/// its name is not valid UTF-8.
pub fn login_role() -> Option<String> {
    // SAFETY: the result is a palloc'd C string, or NULL if the role no longer exists.
    let name = unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetAuthenticatedUserId(), true);
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    name.to_str().ok().map(str::to_owned)
}

/// Name of the client's login role (or the one set with SET SESSION AUTHORIZATION).
pub fn session_user() -> String {
    // SAFETY: reads a backend-local variable.
    role_name(unsafe { pg_sys::GetSessionUserId() })
}

/// Whether the current user has the privileges of a schema's owner.
pub fn owns_schema(namespace: pg_sys::Oid) -> bool {
    // SAFETY: a syscache lookup.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_namespace_ownercheck(namespace, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        pg_sys::object_ownercheck(pg_sys::NamespaceRelationId, namespace, pg_sys::GetUserId())
    }
}

/// The named database, if it exists and the current user has the privileges of its owner.
pub fn owned_database(name: &str) -> Option<pg_sys::Oid> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: the string is NUL-terminated and outlives the call; does syscache lookups.
    unsafe {
        let database = pg_sys::get_database_oid(name.as_ptr(), true);
        if database == pg_sys::InvalidOid {
            return None;
        }
        #[cfg(feature = "pg15")]
        let owned = pg_sys::pg_database_ownercheck(database, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        let owned =
            pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, pg_sys::GetUserId());
        owned.then_some(database)
    }
}

/// Whether the current user has EXECUTE privilege on a function.
pub fn may_call(function: pg_sys::Oid) -> bool {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_EXECUTE);
    // SAFETY: syscache lookups.
    unsafe {
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_proc_aclcheck(function, pg_sys::GetUserId(), mode);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(
            pg_sys::ProcedureRelationId,
            function,
            pg_sys::GetUserId(),
            mode,
        );
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Whether the current user has USAGE privilege on a schema.
pub fn may_use_schema(namespace: pg_sys::Oid) -> bool {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    // SAFETY: syscache lookups.
    unsafe {
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_namespace_aclcheck(namespace, pg_sys::GetUserId(), mode);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(
            pg_sys::NamespaceRelationId,
            namespace,
            pg_sys::GetUserId(),
            mode,
        );
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Whether the current user has SELECT privilege on all columns of a relation.
pub fn may_read(relation: pg_sys::Oid) -> bool {
    // SAFETY: syscache lookups.
    unsafe {
        let wanted = pg_sys::ACL_SELECT as pg_sys::AclMode;
        pg_sys::pg_class_aclcheck(relation, pg_sys::GetUserId(), wanted)
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

catalog_table! {
    struct Extension: "pg_catalog"."pg_extension" {
        extowner: pg_sys::Oid,
    } by {
        oid: pg_sys::Oid,
    }
}

/// The type that a domain is based on at last, if code in its definition, and in those of the domains between, may run for the
/// current user: their owners are this user or superusers.
pub fn base_of_trusted_domain(domain: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let mut of_type = domain;
    // SAFETY: the tuple is released after its fields were copied; lookups of existing types and roles.
    unsafe {
        while pg_sys::get_typtype(of_type) as u8 == pg_sys::TYPTYPE_DOMAIN {
            let cache = pg_sys::SysCacheIdentifier::TYPEOID as i32;
            let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(of_type));
            if tuple.is_null() {
                return None;
            }
            let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_type>();
            let (owner, base) = (form.typowner, form.typbasetype);
            pg_sys::ReleaseSysCache(tuple);
            if owner != pg_sys::GetUserId() && !pg_sys::superuser_arg(owner) {
                return None;
            }
            of_type = base;
        }
    }
    Some(of_type)
}

/// Whether values of a type contain those of a domain whose constraints may run code that the current user does not run: its
/// owner is neither he nor a superuser.
pub fn has_foreign_domain(of_type: pg_sys::Oid) -> bool {
    let foreign = || base_of_trusted_domain(of_type).is_none();
    !types::is_built_in(of_type) && (foreign() || types::parts_of(of_type).any(has_foreign_domain))
}

/// Owner of an extension, if it exists.
pub fn owner_of_extension(name: &str) -> Option<pg_sys::Oid> {
    const OID: Column<Extension, pg_sys::Oid> = Column::named("oid");
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: the string is NUL-terminated and outlives the call; reads the catalogs.
    let extension = unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) };
    if extension == pg_sys::InvalidOid {
        return None;
    }
    let catalog = pg_sys::ExtensionRelationId.to_u32();
    let rows = system_rows(catalog, pg_sys::ExtensionOidIndexId, &[OID.equals(extension)]);
    rows.first().map(|row: &Extension| row.extowner)
}

/// Whether the current user has the privileges of an extension's owner.
pub fn owns_extension(name: &str) -> bool {
    owner_of_extension(name).is_some_and(has_rights_of)
}

/// Whether the current user has the privileges of a role.
pub fn has_rights_of(role: pg_sys::Oid) -> bool {
    // SAFETY: syscache lookups.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), role) }
}
