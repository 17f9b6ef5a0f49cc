//! Dependencies of a database object as recorded in `pg_depend`.

use crate::pg::catalog::object::{DEFAULT, Object, TYPE, is_relation, of_relation, type_fields};
use crate::pg::catalog::table::{Column, catalog_table, system_rows};
use pgrx::pg_sys::Oid;

/// `DependRelationId`, which pgrx does not define.
const DEPEND: u32 = 2608;

/// The objects on which this one depends according to pg_depend, including a table's column defaults; parts are
/// replaced by their whole.
pub fn of(object: Object) -> Vec<Object> {
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
    let all = system_rows(DEPEND, 2673, &[CLASS.equals(object.class), ID.equals(object.id)]);
    let all = all.iter().map(|d: &Dependency| Object { class: d.refclassid, id: d.refobjid });
    // The columns of a composite type belong to a separate relation, which depends on the type.
    let row = type_fields(object.id).filter(|_| object.class.to_u32() == TYPE);
    let row = row.map(|fields| fields.row).filter(|&row| row != Oid::INVALID).map(of_relation);
    all.chain(row).collect()
}
