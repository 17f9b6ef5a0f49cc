//! Report section on moving a tenant.

use std::fmt::Write;
use std::time::Duration;

use super::pgbench::{CLIENTS, RATE};
use super::{Figures, Move, Span, Tenant};
use testkit::ledger::{self, Statement};

/// Heading of the section.
pub const TITLE: &str = "## Moving a tenant while it is used";

/// States in which definitions, rows and indexes are copied.
const COPYING: [&str; 2] = ["dual_write", "backfill"];

/// Formats the section.
pub fn table(figures: &Figures) -> String {
    let Figures { dump, quiet, big, small, .. } = figures;
    let mut text = format!(
        "\n{TITLE}\n\nTwo nodes and the coordinator on one machine, connected by TCP on the loopback interface; fsync off. \
         A tenant of {:.0} MB ({} rows; a primary key, a second index) is written by pgbench ({CLIENTS} clients, {RATE} rows/s, prepared) \
         and by two clients that keep a ledger in a table without a primary key; another tenant is written by one client. \
         Statement times are client-side latencies of statements that overlap the move; the state in which the statement ended is given beside them. \
         Load average of the machine before: {}.\n\n",
        big.megabytes, big.rows, figures.busy
    );
    copies(&mut text, *dump, quiet, big);
    text.push_str(
        "\n| move | total s | copy s | catch up s | verify s | switch s | clean-up s | fence ms | longest statement ms | longest statement of the other tenant ms |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    line(&mut text, quiet, None);
    big.moves.iter().for_each(|one| line(&mut text, one, Some(big)));
    let _ = writeln!(
        text,
        "\nA tenant of {:.0} MB, moved {} times, each move finished before the next:\n",
        small.megabytes,
        small.moves.len()
    );
    many(&mut text, small);
    waits(&mut text, big, small);
    accounts(&mut text, &[big, small]);
    text
}

fn seconds(one: &Move, states: &[&str]) -> f64 {
    let within = one.states.iter().filter(|(state, _)| states.contains(&state.as_str()));
    within.fold(0.0, |sum, (_, (from, to))| sum + to.saturating_sub(*from).as_secs_f64())
}

fn copies(text: &mut String, dump: f64, quiet: &Move, big: &Tenant) {
    text.push_str(
        "| copy with definitions and indexes | s | MB/s | speed relative to pg_dump \\| psql |\n|---|--:|--:|--:|\n",
    );
    let mut add = |what: &str, time: f64| {
        let (rate, ratio) = (big.megabytes / time, dump / time);
        let _ = writeln!(text, "| {what} | {time:.1} | {rate:.0} | {ratio:.2} |");
    };
    add("pg_dump \\| psql, no load", dump);
    add("move, no load", seconds(quiet, &COPYING));
    for one in big.moves.iter().filter(|one| one.what != "rollback") {
        add(&format!("{} move, under load", one.what), seconds(one, &COPYING));
    }
}

fn line(text: &mut String, one: &Move, tenant: Option<&Tenant>) {
    let Move { what, span, stall, .. } = one;
    let total = (span.1 - span.0).as_secs_f64();
    let [copy, catch_up, verify, switch, cleanup]: [f64; 5] = [
        seconds(one, &COPYING),
        seconds(one, &["catch_up"]),
        seconds(one, &["verify"]),
        seconds(one, &["switch"]),
        seconds(one, &["cleanup"]),
    ];
    let (own, other) = match tenant {
        Some(tenant) => (longest(&tenant.own, one), longest(&tenant.other, one)),
        None => ("–".to_owned(), "–".to_owned()),
    };
    let _ = writeln!(
        text,
        "| {what} | {total:.1} | {copy:.1} | {catch_up:.1} | {verify:.1} | {switch:.1} | {cleanup:.1} | {} | {own} | {other} |",
        stall.map_or_else(|| "–".to_owned(), |stall| format!("{stall:.1}")),
    );
}

/// The longest statement that overlaps the move, and the state in which it ended.
fn longest(statements: &[Statement], one: &Move) -> String {
    let Some(found) = ledger::longest(statements, one.span.0, one.span.1) else {
        return "–".to_owned();
    };
    let then = |(_, (from, to)): &&(String, Span)| (*from..*to).contains(&found.ended);
    let state = one.states.iter().find(then).map_or("", |(state, _)| state.as_str());
    format!("{:.1} {state}", milliseconds(found.took))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The quantile of the values by the nearest-rank method.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn many(text: &mut String, small: &Tenant) {
    text.push_str("| per move | median | p99 | longest |\n|---|--:|--:|--:|\n");
    let mut add = |what: &str, mut values: Vec<f64>| {
        let [median, p99, most] = [0.5, 0.99, 1.0].map(|part| quantile(&mut values, part));
        let _ = writeln!(text, "| {what} | {median:.1} | {p99:.1} | {most:.1} |");
    };
    let all = |statements: &[Statement]| {
        let one = |one: &Move| {
            ledger::longest(statements, one.span.0, one.span.1).map(|found| found.took)
        };
        small.moves.iter().filter_map(one).map(milliseconds).collect()
    };
    add("fence, ms", small.moves.iter().filter_map(|one| one.stall).collect());
    add("longest statement of the tenant, ms", all(&small.own));
    add("longest statement of the other tenant, ms", all(&small.other));
    let took = |one: &Move| (one.span.1 - one.span.0).as_secs_f64();
    add("whole move, s", small.moves.iter().map(took).collect());
}

fn waits(text: &mut String, big: &Tenant, small: &Tenant) {
    text.push_str(
        "\n| all statements, ms | without moves: p99 | longest | during moves: p99 | longest |\n|---|--:|--:|--:|--:|\n",
    );
    let mut add = |what: &str, statements: &[Statement], calm: Span, moves: Span| {
        let [mut calm, mut moving] = [calm, moves].map(|(from, to)| {
            let within = statements.iter().filter(|s| s.ended >= from && s.ended <= to);
            within.map(|statement| milliseconds(statement.took)).collect::<Vec<_>>()
        });
        let [a, b] = [0.99, 1.0].map(|part| quantile(&mut calm, part));
        let [c, d] = [0.99, 1.0].map(|part| quantile(&mut moving, part));
        let _ = writeln!(text, "| {what} | {a:.1} | {b:.1} | {c:.1} | {d:.1} |");
    };
    for (name, tenant) in [("big", big), ("small", small)] {
        let first = tenant.moves.first().map(|one| one.span.0).unwrap_or_default();
        let last = tenant.moves.last().map(|one| one.span.1).unwrap_or_default();
        add(&format!("{name} tenant"), &tenant.own, tenant.calm, (first, last));
        add(
            &format!("other tenant while the {name} one moves"),
            &tenant.other,
            tenant.calm,
            (first, last),
        );
    }
}

fn accounts(text: &mut String, tenants: &[&Tenant]) {
    text.push_str(
        "\n| writes | acknowledged | lost | present without acknowledgement | duplicated | client errors |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for (name, tenant) in ["big", "small"].into_iter().zip(tenants) {
        let (acknowledged, lost, more) = tenant.numbered;
        let account = &tenant.account;
        let _ = writeln!(
            text,
            "| {name} tenant | {} | {} | {more} | {} | {} |",
            acknowledged + account.acknowledged,
            lost + account.lost as i64,
            account.repeated,
            tenant.errors
        );
    }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|part| quantile(&mut values, part)), [10.0, 20.0, 20.0]);
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}
