//! Generates rows for the demo's tenants in COPY's text format. A tenant gets the same rows in every run.

use std::fmt::Write;

/// Number of rows in one tenant's tables.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Rows of `users`.
    pub users: u64,
    /// Rows of `orders`; each has one to four rows in `items`.
    pub orders: u64,
    /// Rows of `events`.
    pub events: u64,
}

/// Marsaglia's xorshift64, good enough for realistic-looking rows.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const NAMES: [&str; 8] =
    ["Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Niklaus", "Tony"];
const PLANS: [&str; 4] = ["free", "silver", "gold", "gold"];
const STATES: [&str; 5] = ["open", "paid", "paid", "shipped", "returned"];
const PRODUCTS: [&str; 6] = ["chair", "desk", "lamp", "shelf", "sofa", "table"];
const KINDS: [&str; 5] = ["login", "search", "view", "view", "view"];

/// One COPY statement and its rows.
pub struct Load {
    /// Table and column list.
    pub target: &'static str,
    /// Rows in text format.
    pub rows: String,
    /// Number of rows.
    pub count: u64,
}

/// All the data to load into a tenant, in an order that satisfies the foreign keys.
pub fn loads(tenant: usize, size: Size) -> Vec<Load> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (tenant as u64 + 1));
    let users = rows("users (name, email, profile)", size.users, |i, row| {
        let (name, plan) = (random.pick(&NAMES), random.pick(&PLANS));
        let _ = writeln!(row, "{name} {i}\tuser{i}@example.com\t{{\"plan\": \"{plan}\"}}");
        1
    });
    let orders = rows("orders (user_id, state, placed)", size.orders, |_, row| {
        let (user, state) = (1 + random.below(size.users), random.pick(&STATES));
        let placed = moment(&mut random);
        let _ = writeln!(row, "{user}\t{state}\t{placed}");
        1
    });
    let items = rows("items (order_id, line, product, quantity, price)", size.orders, |i, row| {
        let lines = 1 + random.below(4);
        for line in 1..=lines {
            let (product, quantity) = (random.pick(&PRODUCTS), 1 + random.below(5));
            let (whole, cents) = (5 + random.below(495), random.below(100));
            let _ = writeln!(row, "{i}\t{line}\t{product}\t{quantity}\t{whole}.{cents:02}");
        }
        lines
    });
    let events = rows("events (at, user_id, kind, data)", size.events, |i, row| {
        let (user, kind) = (1 + random.below(size.users), random.pick(&KINDS));
        let at = moment(&mut random);
        let _ = writeln!(row, "{at}\t{user}\t{kind}\t{{\"number\": {i}}}");
        1
    });
    vec![users, orders, items, events]
}

/// Calls `add` for 1 to `count`; it appends rows and returns how many.
fn rows(target: &'static str, count: u64, mut add: impl FnMut(u64, &mut String) -> u64) -> Load {
    let mut rows = String::new();
    let count = (1..=count).map(|i| add(i, &mut rows)).sum();
    Load { target, rows, count }
}

fn moment(random: &mut Random) -> String {
    let (month, day) = (1 + random.below(12), 1 + random.below(28));
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
    format!("2025-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}+00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_every_time_and_as_many_as_counted() {
        let size = Size { users: 10, orders: 20, events: 30 };
        let (one, two) = (loads(3, size), loads(3, size));
        for (one, two) in one.iter().zip(&two) {
            assert_eq!(one.rows, two.rows);
            assert_eq!(one.rows.lines().count() as u64, one.count);
        }
        assert_ne!(one[0].rows, loads(4, size)[0].rows);
    }
}
