use super::*;

fn prototypes(rust: &str, major: u32) -> Vec<String> {
    let found = prototypes::of_source(&format!("extern \"C\" {{ {rust} }}"), major).unwrap();
    found.into_iter().map(|prototype| prototype.text).collect()
}

#[test]
fn declarations_become_prototypes() {
    let rust = "fn f(text: *const c_char, n: usize) -> *mut pg_sys::List; fn g() -> !; \
                fn h(kind: pg_sys::CommandDest::Type, call: Option<unsafe extern \"C\" fn(u8) -> bool>); \
                static S: *const pg_sys::TupleTableSlotOps;";
    let expected = [
        "List *(f)(const char *, size_t)",
        "void (g)(void)",
        "void (h)(CommandDest, bool (*)(unsigned char))",
        "const TupleTableSlotOps *(S)",
    ];
    assert_eq!(prototypes(rust, 15), expected);
}

#[test]
fn conditions_choose_what_a_version_has() {
    let rust = "#[cfg(not(any(feature = \"pg17\", feature = \"pg18\")))] fn old(); \
                #[cfg(any(feature = \"pg17\", feature = \"pg18\"))] fn new(); \
                #[cfg_attr(not(feature = \"pg15\"), link_name = \"walker_impl\")] fn walker();";
    assert_eq!(prototypes(rust, 15), ["void (old)(void)", "void (walker)(void)"]);
    assert_eq!(prototypes(rust, 18), ["void (new)(void)", "void (walker_impl)(void)"]);
}

/// Compiles these declarations against a server with only this header; returns the compiler's messages.
fn compared(header: &str, rust: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("postgres.h"), format!("#include <stdbool.h>\n{header}")).unwrap();
    fs::write(dir.path().join("fmgr.h"), "").unwrap();
    let found = declared_in(rust, 15).unwrap();
    compile(dir.path(), &unit(&BTreeMap::from([("src/pg/x.rs".to_owned(), found)]))).unwrap()
}

#[test]
fn differences_are_found_at_their_place() {
    let header = "extern bool f(const char *text, int n);\n#define f(text) nothing\n";
    let compared = |rust| compared(header, &format!("extern \"C\" {{\n{rust}\n}}"));
    assert_eq!(compared("fn f(text: *const c_char, n: c_int) -> bool;"), "");
    for rust in [
        "fn f(text: *const c_char) -> bool;",
        "fn f(text: *const c_char, n: i64) -> bool;",
        "fn f(text: *const c_char, n: c_int) -> c_int;",
        "fn f(text: *mut c_char, n: c_int) -> bool;",
        "fn gone();",
    ] {
        let said = compared(rust);
        assert!(said.contains("src/pg/x.rs:2:"), "{rust}: {said}");
    }
}

#[test]
fn structures_are_compared_field_by_field() {
    let header = "typedef struct { void (*reset)(void); int (*put)(char, const char *, int); } PQcommMethods;";
    let compared =
        |fields: &str| compared(header, &format!("#[repr(C)]\nstruct CommMethods {{ {fields} }}"));
    let put = "put: unsafe extern \"C\" fn(c_char, *const c_char, c_int) -> c_int";
    assert_eq!(compared(&format!("reset: *const (), {put}")), "");
    for (fields, fault) in [
        (format!("{put}, reset: *const ()"), "offset of PQcommMethods.put"),
        (format!("reset: *const (), {put}, more: *const ()"), "size of PQcommMethods"),
        (put.to_owned(), "size of PQcommMethods"),
        (
            format!("reset: *const (), {}", put.replace("*const", "*mut")),
            "type of PQcommMethods.put",
        ),
        (
            format!("reset: *const (), {}", put.replace(", c_int)", ", usize)")),
            "type of PQcommMethods.put",
        ),
    ] {
        let said = compared(&fields);
        assert!(said.contains("src/pg/x.rs:1:") && said.contains(fault), "{fields}: {said}");
    }
}

#[test]
fn a_structure_that_nobody_knows_is_a_fault() {
    assert!(declared_in("#[repr(C)]\nstruct New { n: c_int }", 15).is_err());
    assert!(declared_in("#[repr(C)]\nstruct PrintReceiver { n: c_int }", 15).is_ok());
}
