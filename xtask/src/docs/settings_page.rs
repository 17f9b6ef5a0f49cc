//! Generates the page of settings.

use std::fmt::Write as _;

use anyhow::Result;
use postgres::Client;

use super::page::{Page, cell, sentence};

const SETTINGS: &str = "
    SELECT name, vartype, boot_val, unit, min_val, max_val, enumvals, context, short_desc, extra_desc
      FROM pg_settings WHERE name LIKE 'helios.%' ORDER BY name";

/// One row of `pg_settings`.
struct Setting {
    name: String,
    kind: String,
    default: Option<String>,
    unit: Option<String>,
    bounds: (Option<String>, Option<String>),
    values: Option<Vec<String>>,
    context: String,
    about: String,
    more: Option<String>,
}

/// Page of all settings.
pub fn settings(client: &mut Client) -> Result<Page> {
    let mut text = "# Settings\n\nThis page lists every setting: its meaning, default and range, and who can change it. \
        The settings take effect on the coordinator.\n"
        .to_owned();
    for row in client.query(SETTINGS, &[])? {
        let setting = Setting {
            name: row.get(0),
            kind: row.get(1),
            default: row.get(2),
            unit: row.get(3),
            bounds: (row.get(4), row.get(5)),
            values: row.get(6),
            context: row.get(7),
            about: row.get(8),
            more: row.get(9),
        };
        describe(&mut text, &setting)?;
    }
    Ok(Page { name: "settings.md", text })
}

fn describe(text: &mut String, setting: &Setting) -> Result<()> {
    write!(text, "\n## {}\n\n{}", setting.name, sentence(&setting.about))?;
    if let Some(more) = setting.more.as_deref().filter(|more| !more.is_empty()) {
        write!(text, " {}", sentence(more))?;
    }
    let unit = setting.unit.as_deref();
    let default = setting.default.as_deref().unwrap_or_default();
    let mut facts = vec![
        ("Type", setting.kind.clone()),
        ("Default", if default.is_empty() { "empty".to_owned() } else { amount(default, unit) }),
    ];
    match (&setting.values, &setting.bounds) {
        (Some(values), _) => facts.push(("Values", values.join(", "))),
        (None, (Some(least), Some(most))) => {
            facts.push(("Range", format!("{} to {}", amount(least, unit), amount(most, unit))));
        }
        _ => {}
    }
    facts.push(("Changed", changed(&setting.context).to_owned()));
    text.push_str("\n\n| | |\n|---|---|\n");
    for (what, value) in facts {
        writeln!(text, "| {what} | {} |", cell(&value))?;
    }
    Ok(())
}

/// When and by whom a setting with this context can be changed.
fn changed(context: &str) -> &str {
    match context {
        "postmaster" => "at server start",
        "sighup" => "in the configuration file, with a reload",
        "superuser" => "by superusers, at any time",
        "user" => "by everyone, at any time",
        "backend" | "superuser-backend" => "when a session starts",
        other => other,
    }
}

/// Formats a value in the largest unit of which it is a whole multiple.
fn amount(value: &str, unit: Option<&str>) -> String {
    let (Some(unit), Ok(number)) = (unit, value.parse::<u64>()) else { return value.to_owned() };
    let milliseconds = match unit {
        "ms" => number,
        "s" => number * 1000,
        _ => return format!("{value} {unit}"),
    };
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];
    let fits = |&&(_, size): &&(&str, u64)| milliseconds >= size && milliseconds % size == 0;
    match units.iter().find(fits) {
        Some((name, size)) => format!("{} {name}", milliseconds / size),
        None => format!("{value} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_have_the_largest_whole_unit() {
        assert_eq!(amount("60000", Some("ms")), "1 min");
        assert_eq!(amount("1500", Some("ms")), "1500 ms");
        assert_eq!(amount("600", Some("s")), "10 min");
        assert_eq!(amount("0", Some("s")), "0 s");
        assert_eq!(amount("64", None), "64");
    }
}
