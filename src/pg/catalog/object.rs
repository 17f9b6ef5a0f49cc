//! Where a database object belongs: to a schema, to a table, or to the database as a whole.

use crate::pg::catalog::table::{Column, catalog_table, system_rows};
use pgrx::pg_sys::{self, Oid};

/// Names one object, as PostgreSQL's dependency code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// The system catalog that has it.
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
        Self { class: 3456.into(), id }
    }
}

/// What an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// A table, view, index, sequence or part of one, in this schema.
    Relation {
        /// The relation.
        relation: Oid,
        /// Its schema.
        namespace: Oid,
    },
    /// Anything else that is in a schema, or the schema itself.
    Schema(Oid),
    /// The database or the server, as roles and extensions do.
    Database,
    /// This server alone: databases, tablespaces, publications, temporary objects, parts of extensions.
    Server,
}

/// An object of a catalog whose rows point to the object that they are a part of.
struct PartOf {
    class: u32,
    /// The column that points to the whole.
    whole_of: fn(Oid) -> Option<Oid>,
    whole: u32,
}

/// A function that reads a column of type oid in the row of an object, found by its OID.
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

const NONE: Oid = pg_sys::InvalidOid;
const RELATION: u32 = 1259;
const TYPE: u32 = 1247;
const DEFAULT: u32 = 2604;
const CONSTRAINT: u32 = 2606;
const INHERITS: u32 = 2611;
const NAMESPACE: u32 = 2615;
const EXTENSION: u32 = 3079;
const DB_ROLE_SETTING: u32 = 2964;
const DEFAULT_ACL: u32 = 826;

const PARTS: [PartOf; 6] = [
    PartOf { class: 2620, whole_of: linked!("pg_trigger" = 2620, 2702, tgrelid), whole: RELATION },
    PartOf { class: 2618, whole_of: linked!("pg_rewrite" = 2618, 2692, ev_class), whole: RELATION },
    PartOf { class: 3256, whole_of: linked!("pg_policy" = 3256, 3257, polrelid), whole: RELATION },
    PartOf {
        class: DEFAULT,
        whole_of: linked!("pg_attrdef" = DEFAULT, 2657, adrelid),
        whole: RELATION,
    },
    PartOf { class: 2602, whole_of: linked!("pg_amop" = 2602, 2756, amopfamily), whole: 2753 },
    PartOf { class: 2603, whole_of: linked!("pg_amproc" = 2603, 2757, amprocfamily), whole: 2753 },
];

/// pg_proc, operators, collations, conversions, text search, statistics: rows with a schema of their own.
const IN_SCHEMA: [u32; 11] = [1255, 2617, 2616, 2753, 3456, 2607, 3600, 3601, 3602, 3764, 3381];
/// Roles, memberships, casts, languages, transforms, access methods, foreign servers and wrappers, settings' grants.
const IN_DATABASE: [u32; 10] = [1260, 1261, 2605, 2612, 3576, 2601, 2328, 1417, 1418, 6243];

/// What the object belongs to; None if it does not exist (any more).
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

/// Whether it is temporary, or a part of something that is.
pub fn is_temporary(object: Object) -> bool {
    let class = object.class.to_u32();
    if class == RELATION {
        // SAFETY: looks into the system cache and backend-local variables.
        return unsafe { pg_sys::isAnyTempNamespace(pg_sys::get_rel_namespace(object.id)) };
    }
    let may_be = matches!(class, TYPE | CONSTRAINT)
        || IN_SCHEMA.contains(&class)
        || PARTS.iter().any(|part| part.class == class);
    may_be && belongs(object) == Some(Belongs::Server)
}

/// A schema as an object.
pub fn of_schema(namespace: Oid) -> Object {
    Object { class: NAMESPACE.into(), id: namespace }
}

/// Its full name, as DROP and ALTER take it.
pub fn identity(object: Object) -> crate::error::Result<Option<String>> {
    let select = "SELECT identity FROM pg_catalog.pg_identify_object($1, $2, 0)";
    crate::pg::session::sql::one(select, &[object.class.into(), object.id.into()])
}

/// The schema that the object is, if it is one.
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
    Object { class: 2618.into(), id: rule }
}

/// Whether the object is a rewrite rule, as the query of a view is one.
pub fn is_rule(object: Object) -> bool {
    object.class.to_u32() == 2618
}

/// Whether the object is a view or materialized view.
pub fn is_view(object: Object) -> bool {
    // SAFETY: looks into the system cache.
    is_relation(object)
        && matches!(unsafe { pg_sys::get_rel_relkind(object.id) } as u8, b'v' | b'm')
}

/// Whether the object is a policy of row security.
pub fn is_policy(object: Object) -> bool {
    object.class.to_u32() == 3256
}

/// Whether the object is a sequence.
pub fn is_sequence(object: Object) -> bool {
    // SAFETY: looks into the system cache.
    is_relation(object)
        && unsafe { pg_sys::get_rel_relkind(object.id) } as u8 == pg_sys::RELKIND_SEQUENCE
}

/// Whether the object is a constraint.
pub fn is_constraint(object: Object) -> bool {
    object.class.to_u32() == CONSTRAINT
}

/// Whether the object is a trigger.
pub fn is_trigger(object: Object) -> bool {
    object.class.to_u32() == 2620
}

/// Whether the object is an extension.
pub fn is_extension(object: Object) -> bool {
    object.class.to_u32() == EXTENSION
}

/// Whether the object came with the server or with an extension.
pub fn is_given(object: Object) -> bool {
    object.id.to_u32() < pg_sys::FirstNormalObjectId || is_part_of_extension(object)
}

/// Whether the object came with an extension.
pub fn is_part_of_extension(object: Object) -> bool {
    // SAFETY: looks into the catalogs.
    unsafe { pg_sys::getExtensionOfObject(object.class, object.id) != NONE }
}

/// A column's default as the server announces it, with the OID of its table, is that table; others are themselves.
pub fn whole_of_default(object: Object) -> Object {
    if object.class.to_u32() == DEFAULT { of_relation(object.id) } else { object }
}

/// An inheritance as the server announces it, with the OID of the child, is the child; others are themselves.
pub fn child_of_inheritance(object: Object) -> Object {
    if object.class.to_u32() == INHERITS { of_relation(object.id) } else { object }
}

/// The objects that this one was made from, as pg_depend has them, a table's defaults included; parts count for their
/// whole.
pub fn references(object: Object) -> Vec<Object> {
    let mut all = direct_references(object);
    if is_relation(object) {
        for default in defaults(object.id) {
            let default = Object { class: DEFAULT.into(), id: default.oid };
            all.extend(direct_references(default).into_iter().filter(|below| *below != object));
        }
    }
    all
}

catalog_table! {
    struct Default: "pg_catalog"."pg_attrdef" {
        oid: Oid,
    } by {
        adrelid: Oid,
    }
}

/// The defaults of a table's columns.
fn defaults(table: Oid) -> Vec<Default> {
    const TABLE: Column<Default, Oid> = Column::named("adrelid");
    system_rows(DEFAULT, 2656, &[TABLE.equals(table)])
}

catalog_table! {
    struct Dependency: "pg_catalog"."pg_depend" {
        refclassid: Oid,
        refobjid: Oid,
    } by {
        classid: Oid,
        objid: Oid,
    }
}

fn direct_references(object: Object) -> Vec<Object> {
    const CLASS: Column<Dependency, Oid> = Column::named("classid");
    const ID: Column<Dependency, Oid> = Column::named("objid");
    let all = system_rows(2608, 2673, &[CLASS.equals(object.class), ID.equals(object.id)]);
    let all = all.iter().map(|d: &Dependency| Object { class: d.refclassid, id: d.refobjid });
    // The columns of a composite type belong to a relation of its own, which depends on the type.
    let row = type_fields(object.id).filter(|_| object.class.to_u32() == TYPE);
    let row = row.map(|fields| fields.row).filter(|&row| row != NONE).map(of_relation);
    all.chain(row).collect()
}

fn relation(id: Oid) -> Option<Belongs> {
    // SAFETY: looks into the system cache.
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

/// What pg_type says of a type.
struct TypeFields {
    namespace: Oid,
    /// The relation whose rows have this type.
    row: Oid,
    /// The type of the elements, of an array.
    element: Oid,
}

fn type_fields(id: Oid) -> Option<TypeFields> {
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

/// A row type goes with its table, an array type with its element.
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

/// Extensions are everywhere, except one whose objects are in a schema of their own choice: that schema says where.
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
