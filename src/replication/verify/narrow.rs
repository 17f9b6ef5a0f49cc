//! Finds the differing rows of tables that differ: rows are partitioned by a hash of their keys, and the rows of
//! differing partitions are merged in key order from both ends.

use super::mismatch::{Compared, MismatchKind, both};
use super::shape::Shape;
use crate::error::Result;
use crate::remote::{Record, Rows, Session};
use std::collections::{HashMap, VecDeque};

/// Approximate number of rows in a partition.
const PART: i64 = 500;
/// Maximum number of partitions of a table.
const PARTS: i64 = 1 << 16;
/// Rows fetched at a time.
const FETCHED: usize = 1000;
/// Characters shown of a row or key.
const SHOWN: usize = 300;

/// Equal rows with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    key: String,
    hash: i64,
    count: u64,
    shown: String,
}

/// Finds the rows that differ. `tables` are FROM items that yield the rows of each end.
pub fn narrow(
    source: &mut Session,
    target: &mut Session,
    shape: &Shape,
    tables: &[String; 2],
    compared: &mut Compared,
) -> Result<()> {
    let rows = compared.source_rows.max(compared.target_rows);
    let mask = (rows / PART).clamp(1, PARTS).unsigned_abs().next_power_of_two() - 1;
    let part = format!("{} & {mask}", shape.key_hash());
    let hash = shape.row_hash();
    let [ask_there, ask_here] = tables.each_ref().map(|table| {
        format!(
            "SELECT part, count(*), sum(h), bit_xor(h) FROM (SELECT {part} AS part, {hash} AS h FROM {table}) AS r GROUP BY part"
        )
    });
    let (there, here) = both(source, target, &ask_there, &ask_here)?;
    let parts = differing(&there, &here)?.join(",");
    let key =
        if shape.has_key() { shape.key_text() } else { format!("({hash})::text COLLATE \"C\"") };
    let [declare_there, declare_here] = tables.each_ref().map(|table| {
        format!(
            "DECLARE helios_compared NO SCROLL CURSOR FOR
             SELECT k, h, count(*) AS n, left(min(s), {SHOWN}) AS s
               FROM (SELECT {key} AS k, {hash} AS h, {} AS s FROM {table} WHERE {part} = ANY ('{{{parts}}}')) AS r
              GROUP BY k, h ORDER BY k, h",
            shape.key_text()
        )
    });
    both(source, target, &declare_there, &declare_here)?;
    walk(source, target, &|shown| label(shape, shown), compared)?;
    let close = "CLOSE helios_compared";
    both(source, target, close, close).map(|_| ())
}

fn label(shape: &Shape, shown: &str) -> String {
    if shape.has_key() { format!("{}={shown}", shape.key_name()) } else { shown.to_owned() }
}

/// The partitions whose sums differ.
fn differing(there: &Rows, here: &Rows) -> Result<Vec<String>> {
    let (there, mut here) = (by_part(there)?, by_part(here)?);
    let mut parts: Vec<String> = Vec::new();
    for (part, sums) in there {
        if here.remove(&part) != Some(sums) {
            parts.push(part);
        }
    }
    parts.extend(here.into_keys());
    Ok(parts)
}

fn by_part(rows: &Rows) -> Result<HashMap<String, &Record>> {
    rows.iter().map(|row| Ok((row.text("part")?, row))).collect()
}

/// The ordered rows of one end.
#[derive(Default)]
struct Stream {
    items: VecDeque<Item>,
    ended: bool,
}

impl Stream {
    fn take(&mut self, rows: &Rows) -> Result<()> {
        self.ended = rows.len() < FETCHED;
        for row in rows {
            self.items.push_back(Item {
                key: row.text("k")?,
                hash: row.parsed("h")?.unwrap_or(0),
                count: row.parsed("n")?.unwrap_or(0),
                shown: row.text("s")?,
            });
        }
        Ok(())
    }

    /// Whether all rows with the first key have been fetched.
    fn is_ready(&self) -> bool {
        let first = self.items.front().map(|item| &item.key);
        self.ended || self.items.back().map(|item| &item.key) != first
    }

    /// Consumes the rows with this key if it is the next one.
    fn of(&mut self, key: &str) -> Vec<Item> {
        let mut group = Vec::new();
        while self.items.front().is_some_and(|item| item.key == key) {
            group.extend(self.items.pop_front());
        }
        group
    }
}

fn walk(
    source: &mut Session,
    target: &mut Session,
    label: &dyn Fn(&str) -> String,
    compared: &mut Compared,
) -> Result<()> {
    let fetch = format!("FETCH {FETCHED} FROM helios_compared");
    let (mut there, mut here) = (Stream::default(), Stream::default());
    loop {
        match (there.is_ready(), here.is_ready()) {
            (false, false) => {
                let (one, other) = both(source, target, &fetch, &fetch)?;
                there.take(&one)?;
                here.take(&other)?;
                continue;
            }
            (false, true) => {
                there.take(&source.query(&fetch)?)?;
                continue;
            }
            (true, false) => {
                here.take(&target.query(&fetch)?)?;
                continue;
            }
            (true, true) => {}
        }
        let first = [there.items.front(), here.items.front()].into_iter().flatten();
        let Some(key) = first.map(|item| item.key.clone()).min() else { return Ok(()) };
        judge(there.of(&key), here.of(&key), label, compared);
    }
}

/// Records how the rows with one key differ.
fn judge(
    mut there: Vec<Item>,
    mut here: Vec<Item>,
    label: &dyn Fn(&str) -> String,
    compared: &mut Compared,
) {
    let known = !there.is_empty();
    let Some(shown) = there.first().or(here.first()).map(|item| item.shown.clone()) else { return };
    for item in &mut there {
        for other in here.iter_mut().filter(|other| other.hash == item.hash) {
            let same = item.count.min(other.count);
            (item.count, other.count) = (item.count - same, other.count - same);
        }
    }
    let count = |items: &[Item]| items.iter().map(|item| item.count).sum::<u64>();
    let (only_there, only_here) = (count(&there), count(&here));
    let changed = only_there.min(only_here);
    compared.add(MismatchKind::Changed, changed, || label(&shown));
    compared.add(MismatchKind::Missing, only_there - changed, || label(&shown));
    let more = if known { MismatchKind::Duplicate } else { MismatchKind::Extra };
    compared.add(more, only_here - changed, || label(&shown));
}

#[cfg(test)]
mod tests {
    use super::super::mismatch::TableName;
    use super::*;
    use std::rc::Rc;

    fn items(all: &[(&str, i64, u64)]) -> Vec<Item> {
        let item = |&(key, hash, count): &(&str, i64, u64)| Item {
            key: key.into(),
            hash,
            count,
            shown: key.into(),
        };
        all.iter().map(item).collect()
    }

    fn judged(there: &[(&str, i64, u64)], here: &[(&str, i64, u64)]) -> Vec<(MismatchKind, u64)> {
        let table = TableName { schema: "s".into(), name: "t".into() };
        let mut found = Vec::new();
        let mut compared = Compared::new(&table);
        judge(items(there), items(here), &str::to_owned, &mut compared);
        let mut left = compared.count;
        for mismatch in &compared.kept {
            found.push((mismatch.kind, if compared.kept.len() == 1 { left } else { 1 }));
            left -= 1;
        }
        found
    }

    #[test]
    fn rows_of_one_key_are_told_apart() {
        use MismatchKind::{Changed, Duplicate, Extra, Missing};
        assert_eq!(judged(&[("a", 1, 1)], &[("a", 1, 1)]), []);
        assert_eq!(judged(&[("a", 1, 1)], &[("a", 2, 1)]), [(Changed, 1)]);
        assert_eq!(judged(&[("a", 1, 1)], &[]), [(Missing, 1)]);
        assert_eq!(judged(&[], &[("a", 1, 2)]), [(Extra, 2)]);
        assert_eq!(judged(&[("a", 1, 1)], &[("a", 1, 3)]), [(Duplicate, 2)]);
        assert_eq!(judged(&[("a", 1, 3)], &[("a", 1, 1)]), [(Missing, 2)]);
        assert_eq!(judged(&[("a", 1, 1)], &[("a", 1, 1), ("a", 2, 1)]), [(Duplicate, 1)]);
        assert_eq!(
            judged(&[("a", 1, 1)], &[("a", 2, 1), ("a", 3, 1)]),
            [(Changed, 1), (Duplicate, 1)]
        );
    }

    #[test]
    fn a_stream_waits_for_the_end_of_a_key() {
        let columns: Rc<[String]> = ["k", "h", "n", "s"].map(str::to_owned).into();
        let row = |key: &str| {
            let values = [key, "1", "1", key].map(|text| Some(text.to_owned()));
            Record::new(Rc::clone(&columns), values.into())
        };
        let mut stream = Stream::default();
        assert!(!stream.is_ready());
        stream.take(&vec![row("a"); FETCHED]).unwrap();
        assert!(!stream.is_ready());
        stream.take(&vec![row("a"), row("b")]).unwrap();
        assert!(stream.is_ready());
        assert_eq!(stream.of("a").len(), FETCHED + 1);
        assert_eq!(stream.of("b").len(), 1);
        assert!(stream.is_ready() && stream.items.is_empty());
    }
}
