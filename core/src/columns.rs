//! Resolves column names of catalogs at compile time.

/// A column declared by a catalog row.
pub struct ColumnDef {
    /// Column name.
    pub name: &'static str,
    /// OID of the type used to read its values.
    pub type_oid: u32,
    /// Name of that type, for messages.
    pub type_name: &'static str,
}

/// Returns the index of the column with this name and type. In a constant, an undeclared name or a
/// wrong type is a compile error; elsewhere it panics.
#[allow(clippy::panic, reason = "in a constant it is a compile error")]
pub const fn place(columns: &[ColumnDef], name: &str, type_oid: u32) -> usize {
    let mut at = 0;
    while at < columns.len() {
        if same(columns[at].name, name) {
            assert!(
                columns[at].type_oid == type_oid,
                "the row declares this column with another type"
            );
            return at;
        }
        at += 1;
    }
    panic!("the row does not declare this column")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
