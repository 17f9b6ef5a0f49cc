//! To what a database object belongs: a schema, a table, or the database as a whole.

use crate::pg::catalog::table::{Column, catalog_table, system_rows};
use pgrx::pg_sys::{self, Oid};

/// Objects with a smaller OID are built in.
pub const FIRST_USER_OID: u32 = pg_sys::FirstNormalObjectId;

/// Identifies an object, like PostgreSQL's ObjectAddress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// The system catalog that contains it.
    pub class: Oid,
    /// Its OID there.
    pub id: Oid,
}

impl Object {
    /// A type.
    pub fn of_type(id: Oid) -> Self {
        Self { class: TYPE.into(), id }
    }

    /// A collation.
    pub fn of_collation(id: Oid) -> Self {
        Self { class: pg_sys::CollationRelationId, id }
    }
}

/// What an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// A table, view, index, sequence, or a part of one, in this schema.
    Relation {
        /// The relation.
        relation: Oid,
        /// Its schema.
        namespace: Oid,
    },
    /// Any other object in a schema, or the schema itself.
    Schema(Oid),
    /// The database or the server, like roles and extensions.
    Database,
    /// This server only: databases, tablespaces, publications, temporary objects, members of extensions.
    Server,
}

/// A catalog whose rows refer to the object of which they are a part.
struct PartOf {
    class: u32,
    /// The column that refers to the whole.
    whole_of: fn(Oid) -> Option<Oid>,
    whole: u32,
}

/// A function that reads a column of type oid from an object's row, found by its OID.
macro_rules! linked {
    ($catalog:literal = $class:expr, $index:expr, $column:ident) => {{
        catalog_table! {
            struct Link: "pg_catalog".$catalog { $column: Oid, } by { oid: Oid, }
        }
        |id: Oid| -> Option<Oid> {
            const OID: Column<Link, Oid> = Column::named("oid");
            let rows: Vec<Link> = system_rows($class, $index, &[OID.equals(id)]);
            rows.first().map(|row| row.$column)
        }
    }};
}

/// A catalog whose rows belong to the object to which a column refers.
macro_rules! part {
    ($catalog:literal = $class:expr, $index:expr, $column:ident of $whole:expr) => {
        PartOf {
            class: $class,
            whole_of: linked!($catalog = $class, $index, $column),
            whole: $whole,
        }
    };
}

const NONE: Oid = pg_sys::InvalidOid;
const RELATION: u32 = pg_sys::RelationRelationId.to_u32();
pub(super) const TYPE: u32 = pg_sys::TypeRelationId.to_u32();
const NAMESPACE: u32 = pg_sys::NamespaceRelationId.to_u32();
const EXTENSION: u32 = pg_sys::ExtensionRelationId.to_u32();
const TRIGGER: u32 = pg_sys::TriggerRelationId.to_u32();
const OPERATOR_FAMILY: u32 = pg_sys::OperatorFamilyRelationId.to_u32();
const AMOP: u32 = pg_sys::AccessMethodOperatorRelationId.to_u32();
const AMPROC: u32 = pg_sys::AccessMethodProcedureRelationId.to_u32();
// pgrx does not define these.
pub(super) const DEFAULT: u32 = 2604;
const CONSTRAINT: u32 = 2606;
const INHERITS: u32 = 2611;
const REWRITE: u32 = 2618;
const DB_ROLE_SETTING: u32 = 2964;
const DEFAULT_ACL: u32 = 826;
const POLICY: u32 = 3256;
const CAST: u32 = 2605;
const CONVERSION: u32 = 2607;
const LANGUAGE: u32 = 2612;
const MEMBERSHIP: u32 = 1261;
const PARAMETER_ACL: u32 = 6243;
const EXTENDED_STATISTICS: u32 = 3381; // pg_statistic_ext: not bound for every version
const TEXT_SEARCH_DICTIONARY: u32 = 3600;
const TEXT_SEARCH_PARSER: u32 = 3601;
const TEXT_SEARCH_CONFIGURATION: u32 = 3602;
const TEXT_SEARCH_TEMPLATE: u32 = 3764;
const TRANSFORM: u32 = 3576;

const PARTS: [PartOf; 6] = [
    part!("pg_trigger" = TRIGGER, pg_sys::TriggerOidIndexId, tgrelid of RELATION),
    part!("pg_rewrite" = REWRITE, 2692, ev_class of RELATION),
    part!("pg_policy" = POLICY, 3257, polrelid of RELATION),
    part!("pg_attrdef" = DEFAULT, 2657, adrelid of RELATION),
    part!("pg_amop" = AMOP, 2756, amopfamily of OPERATOR_FAMILY),
    part!("pg_amproc" = AMPROC, 2757, amprocfamily of OPERATOR_FAMILY),
];

/// Catalogs whose rows have a schema.
const IN_SCHEMA: [u32; 11] = [
    pg_sys::ProcedureRelationId.to_u32(),
    pg_sys::OperatorRelationId.to_u32(),
    pg_sys::OperatorClassRelationId.to_u32(),
    OPERATOR_FAMILY,
    pg_sys::CollationRelationId.to_u32(),
    CONVERSION,
    TEXT_SEARCH_DICTIONARY,
    TEXT_SEARCH_PARSER,
    TEXT_SEARCH_CONFIGURATION,
    TEXT_SEARCH_TEMPLATE,
    EXTENDED_STATISTICS,
];
/// Catalogs whose rows have no schema, and are the same in the whole database or server.
const IN_DATABASE: [u32; 10] = [
    pg_sys::AuthIdRelationId.to_u32(),
    MEMBERSHIP,
    CAST,
    LANGUAGE,
    TRANSFORM,
    pg_sys::AccessMethodRelationId.to_u32(),
    pg_sys::ForeignDataWrapperRelationId.to_u32(),
    pg_sys::ForeignServerRelationId.to_u32(),
    pg_sys::UserMappingRelationId.to_u32(),
    PARAMETER_ACL,
];

/// To what the object belongs; None if it does not exist (anymore).
pub fn belongs(object: Object) -> Option<Belongs> {
    let id = object.id;
    match object.class.to_u32() {
        RELATION => relation(id),
        TYPE => data_type(id),
        CONSTRAINT => constraint(id),
        NAMESPACE => schema(id),
        EXTENSION => Some(extension(id)),
        DB_ROLE_SETTING if id == NONE => Some(Belongs::Database),
        DEFAULT_ACL => match linked!("pg_default_acl" = DEFAULT_ACL, 828, defaclnamespace)(id)? {
            NONE => Some(Belongs::Database),
            namespace => schema(namespace),
        },
        class if IN_SCHEMA.contains(&class) => schema(namespace_of(object)?),
        class if IN_DATABASE.contains(&class) => Some(Belongs::Database),
        class => match PARTS.iter().find(|part| part.class == class) {
            Some(part) => belongs(Object { class: part.whole.into(), id: (part.whole_of)(id)? }),
            None => Some(Belongs::Server),
        },
    }
}

/// Whether it is temporary, or a part of a temporary object.
pub fn is_temporary(object: Object) -> bool {
    let class = object.class.to_u32();
    if class == RELATION {
        // SAFETY: a syscache lookup and backend-local variables.
        return unsafe { pg_sys::isAnyTempNamespace(pg_sys::get_rel_namespace(object.id)) };
    }
    let may_be = matches!(class, TYPE | CONSTRAINT)
        || IN_SCHEMA.contains(&class)
        || PARTS.iter().any(|part| part.class == class);
    may_be && belongs(object) == Some(Belongs::Server)
}

/// The ObjectAddress of a schema.
pub fn of_schema(namespace: Oid) -> Object {
    Object { class: NAMESPACE.into(), id: namespace }
}

/// Its identity, as used by DROP and ALTER.
pub fn identity(object: Object) -> crate::error::Result<Option<String>> {
    let select = "SELECT identity FROM pg_catalog.pg_identify_object($1, $2, 0)";
    crate::pg::session::sql::one(select, &[object.class.into(), object.id.into()])
}

/// The object's OID, if it is a schema.
pub fn as_schema(object: Object) -> Option<Oid> {
    (object.class.to_u32() == NAMESPACE).then_some(object.id)
}

/// A relation as an object.
pub fn of_relation(relation: Oid) -> Object {
    Object { class: RELATION.into(), id: relation }
}

/// Whether the object is a relation, as a whole.
pub fn is_relation(object: Object) -> bool {
    object.class.to_u32() == RELATION
}

/// A rewrite rule as an object.
pub fn of_rule(rule: Oid) -> Object {
    Object { class: REWRITE.into(), id: rule }
}

/// Whether the object is a rewrite rule, as the query of a view is one.
pub fn is_rule(object: Object) -> bool {
    object.class.to_u32() == REWRITE
}

/// Whether the object is a view or materialized view.
pub fn is_view(object: Object) -> bool {
    // SAFETY: a syscache lookup.
    is_relation(object)
        && matches!(unsafe { pg_sys::get_rel_relkind(object.id) } as u8, b'v' | b'm')
}

/// Whether the object is a table, partitioned or not.
pub fn is_table(object: Object) -> bool {
    // SAFETY: a syscache lookup.
    is_relation(object)
        && matches!(unsafe { pg_sys::get_rel_relkind(object.id) } as u8, b'r' | b'p')
}

/// Whether the object is a function or procedure, and not an aggregate.
pub fn is_plain_routine(object: Object) -> bool {
    // SAFETY: a syscache lookup of a routine, which exists.
    object.class == pg_sys::ProcedureRelationId
        && unsafe { pg_sys::get_func_prokind(object.id) } as u8 != b'a'
}

/// Whether the object is a row-level security policy.
pub fn is_policy(object: Object) -> bool {
    object.class.to_u32() == POLICY
}

/// A function as an object.
pub fn of_function(function: Oid) -> Object {
    Object { class: pg_sys::ProcedureRelationId, id: function }
}

/// Whether the object is a function or procedure.
pub fn is_function(object: Object) -> bool {
    object.class == pg_sys::ProcedureRelationId
}

/// Whether the object is a sequence.
pub fn is_sequence(object: Object) -> bool {
    // SAFETY: a syscache lookup.
    is_relation(object)
        && unsafe { pg_sys::get_rel_relkind(object.id) } as u8 == pg_sys::RELKIND_SEQUENCE
}

/// Whether the object is a constraint.
pub fn is_constraint(object: Object) -> bool {
    object.class.to_u32() == CONSTRAINT
}

/// Whether the object is a trigger.
pub fn is_trigger(object: Object) -> bool {
    object.class.to_u32() == TRIGGER
}

/// Whether the object is an extension.
pub fn is_extension(object: Object) -> bool {
    object.class.to_u32() == EXTENSION
}

/// Whether the object is built in or a member of an extension.
pub fn is_given(object: Object) -> bool {
    object.id.to_u32() < pg_sys::FirstNormalObjectId || is_part_of_extension(object)
}

/// Whether the object is a member of an extension.
pub fn is_part_of_extension(object: Object) -> bool {
    // SAFETY: reads the catalogs.
    unsafe { pg_sys::getExtensionOfObject(object.class, object.id) != NONE }
}

/// Maps a column default as reported by the server, with the OID of its table, to that table; returns other objects
/// unchanged.
pub fn whole_of_default(object: Object) -> Object {
    if object.class.to_u32() == DEFAULT { of_relation(object.id) } else { object }
}

/// Maps an inheritance entry as reported by the server, with the OID of the child, to the child; returns other objects
/// unchanged.
pub fn child_of_inheritance(object: Object) -> Object {
    if object.class.to_u32() == INHERITS { of_relation(object.id) } else { object }
}

fn relation(id: Oid) -> Option<Belongs> {
    // SAFETY: a syscache lookup.
    let namespace = unsafe { pg_sys::get_rel_namespace(id) };
    if namespace == NONE {
        return None;
    }
    // SAFETY: as above.
    if unsafe { pg_sys::get_rel_relkind(id) } as u8 == pg_sys::RELKIND_COMPOSITE_TYPE {
        return schema(namespace);
    }
    Some(match schema(namespace)? {
        Belongs::Schema(namespace) => Belongs::Relation { relation: id, namespace },
        other => other,
    })
}

fn schema(namespace: Oid) -> Option<Belongs> {
    // SAFETY: looks into backend-local variables and the system cache.
    let temporary = unsafe { pg_sys::isAnyTempNamespace(namespace) };
    let toast = namespace.to_u32() == pg_sys::PG_TOAST_NAMESPACE;
    Some(if temporary || toast { Belongs::Server } else { Belongs::Schema(namespace) })
}

/// Fields of a pg_type row.
pub(super) struct TypeFields {
    namespace: Oid,
    /// The relation, for a row type.
    pub(super) row: Oid,
    /// The element type, for an array type.
    element: Oid,
}

pub(super) fn type_fields(id: Oid) -> Option<TypeFields> {
    // SAFETY: the tuple is released after its fields were copied.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::TYPEOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(id));
        if tuple.is_null() {
            return None;
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_type>();
        let is_array =
            form.typelem != NONE && form.typsubscript.to_u32() == pg_sys::F_ARRAY_SUBSCRIPT_HANDLER;
        let fields = TypeFields {
            namespace: form.typnamespace,
            row: form.typrelid,
            element: if is_array { form.typelem } else { NONE },
        };
        pg_sys::ReleaseSysCache(tuple);
        Some(fields)
    }
}

/// A row type belongs to its table, an array type to its element type.
fn data_type(id: Oid) -> Option<Belongs> {
    let fields = type_fields(id)?;
    match (fields.row, fields.element) {
        (NONE, NONE) => schema(fields.namespace),
        (NONE, element) => data_type(element),
        (row, _) => relation(row),
    }
}

catalog_table! {
    struct Constraint: "pg_catalog"."pg_constraint" {
        connamespace: Oid,
        conrelid: Oid,
        contypid: Oid,
    } by {
        oid: Oid,
    }
}

fn constraint(id: Oid) -> Option<Belongs> {
    const OID: Column<Constraint, Oid> = Column::named("oid");
    let rows: Vec<Constraint> = system_rows(CONSTRAINT, 2667, &[OID.equals(id)]);
    let row = rows.first()?;
    match (row.conrelid, row.contypid) {
        (NONE, NONE) => schema(row.connamespace),
        (NONE, domain) => data_type(domain),
        (table, _) => relation(table),
    }
}

/// Extensions are everywhere, except for a non-relocatable or relocated one whose objects are in a schema: that schema
/// decides.
fn extension(id: Oid) -> Belongs {
    match linked!("pg_extension" = EXTENSION, 3080, extnamespace)(id) {
        Some(namespace) if crate::pg::session::namespace_name(namespace).is_some() => {
            Belongs::Schema(namespace)
        }
        _ => Belongs::Database,
    }
}

fn namespace_of(object: Object) -> Option<Oid> {
    // SAFETY: only for classes that have both a cache by OID and a column of the schema; the tuple is released after
    // the column was read.
    unsafe {
        let cache = pg_sys::get_object_catcache_oid(object.class);
        let column = pg_sys::get_object_attnum_namespace(object.class);
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(object.id));
        if tuple.is_null() {
            return None;
        }
        let mut null = false;
        let datum = pg_sys::SysCacheGetAttr(cache, tuple, column, &mut null);
        pg_sys::ReleaseSysCache(tuple);
        (!null).then(|| Oid::from(datum.value() as u32))
    }
}
