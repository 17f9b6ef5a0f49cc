//! References to columns that differ from their declaration must not compile.

use std::io;
use std::path::Path;
use std::process::Command;

/// Compiles a program that refers to a column of a row; returns the errors.
fn compile(test: &str, name: &str, type_oid: u32) -> io::Result<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/columns.rs");
    let program = format!(
        "#[path = {source:?}] pub mod columns;
         use columns::{{ColumnDef, place}};
         const COLUMNS: [ColumnDef; 2] = [
             ColumnDef {{ name: \"id\", type_oid: 23, type_name: \"integer\" }},
             ColumnDef {{ name: \"name\", type_oid: 19, type_name: \"name\" }},
         ];
         pub const PLACE: usize = place(&COLUMNS, {name:?}, {type_oid});"
    );
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join(format!("columns_{test}.rs"));
    std::fs::write(&file, program)?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"])
        .args([directory, &file])
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), errors.is_empty(), "{errors}");
    Ok(errors)
}

#[test]
fn a_column_as_it_is_declared_compiles() {
    assert_eq!(compile("declared", "name", 19).unwrap(), "");
}

#[test]
fn a_column_read_as_another_type_does_not_compile() {
    let errors = compile("other_type", "name", 23).unwrap();
    assert!(errors.contains("the row declares this column with another type"), "{errors}");
}

#[test]
fn a_column_of_another_name_does_not_compile() {
    let errors = compile("other_name", "names", 19).unwrap();
    assert!(errors.contains("the row does not declare this column"), "{errors}");
}
