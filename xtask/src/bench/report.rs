//! Formats the result tables in Markdown.

use std::fmt::Write;
use std::fs;

use anyhow::Result;

use super::{Options, Transport, bulk, distributed, short};
use testkit::postgres::Postgres;

/// Heading of the report, with the environment of the measurement.
pub fn heading(pg: &Postgres, options: &Options) -> Result<String> {
    let cpus = std::thread::available_parallelism()?;
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let transport = match options.transport {
        Transport::Unix => "Unix-domain sockets",
        Transport::Tcp => "TCP on the loopback interface",
    };
    Ok(format!(
        "# Benchmarks\n\n{}, {cpus} processors ({model}); clients, coordinator and node share them; \
         every hop goes over {transport}. \
         Medians of {} rounds, alternating between targets. Compare ratios, not absolute figures. \
         pgbouncer pools sessions and stands before the node.\n\n\
         Made by `cargo xtask bench --save`.\n",
        pg.version, options.rounds
    ))
}

/// A figure with so many digits behind the point, or a dash.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

/// Table of short transactions.
pub fn short_table(rows: &[short::Row]) -> String {
    let mut text = String::from(
        "\n## Short transactions\n\nCPU in µs per transaction; \"between\" is the coordinator or \
         the pooler.\n\n| scenario | clients | target | tps | of direct | CPU between | CPU node |\n\
         |---|--:|---|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.scenario,
            row.clients,
            row.target,
            number(row.tps, 0),
            number(row.ratio, 2),
            number(row.router_us, 1),
            number(row.node_us, 1),
        );
    }
    text
}

/// Table of transactions that write on two nodes.
pub fn distributed_table(rows: &[distributed::Row]) -> String {
    let mut text = String::from(
        "\n## A transaction that writes on two nodes\n\nOne client, one update on each node. \
         \"Separately\": a client connected to both nodes commits on one, then on the other. \
         Times in µs.\n\n| scenario | fsync | separately | helios | ratio |\n|---|---|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            distributed::NAME,
            if row.fsync { "on" } else { "off" },
            number(row.local_us, 0),
            number(row.helios_us, 0),
            number(row.times, 2),
        );
    }
    text
}

/// Table of bulk operations.
pub fn bulk_table(rows: &[bulk::Row]) -> String {
    let mut text = String::from(
        "\n## A million rows\n\nCPU in ms for all rows; memory is the growth of the serving \
         process's private memory.\n\n\
         | scenario | target | seconds | of direct | CPU between | CPU node | memory, MB |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.scenario,
            row.target,
            number(row.seconds, 2),
            number(row.ratio, 2),
            number(row.router_ms, 0),
            number(row.node_ms, 0),
            number(row.growth_mb, 1),
        );
    }
    text
}

/// Returns `old` with one section taken from `new`, in place of its earlier version or at the end.
pub fn with_section(old: &str, title: &str, new: &str) -> String {
    let section = |text: &str| {
        let from = text.find(title)?;
        let next = text[from + 1..].find("\n## ");
        Some(from..next.map_or(text.len(), |next| from + 1 + next + 1))
    };
    let Some(wanted) = section(new).map(|range| new[range].trim_end()) else {
        return old.to_owned();
    };
    match section(old) {
        Some(former) => {
            let rest = old[former.end..].trim_start();
            let gap = if rest.is_empty() { "" } else { "\n" };
            format!("{}{wanted}\n{gap}{rest}", &old[..former.start])
        }
        None => format!("{}\n\n{wanted}\n", old.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::with_section;

    #[test]
    fn one_section_is_replaced_and_the_others_stay() {
        let old = "# All\n\n## A\nold\n\n## B\nkept\n";
        assert_eq!(
            with_section(old, "## A", "# New\n\n## A\nnew\n"),
            "# All\n\n## A\nnew\n\n## B\nkept\n"
        );
        let added = with_section(old, "## C", "# New\n\n## C\nnew\n");
        assert_eq!(added, "# All\n\n## A\nold\n\n## B\nkept\n\n## C\nnew\n");
    }
}
