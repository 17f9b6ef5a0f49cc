//! Waiting for a condition instead of for time to pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// For conditions that hold almost at once on an idle machine. Long, because a test must not fail
/// for what else the machine does; what never holds is noticed all the same.
pub const BOUND: Duration = Duration::from_secs(60);

/// Looks again and again until `look` returns `Ok`, and returns what it found. What it returns in
/// `Err` is what it saw instead, shown when `bound` has passed.
///
/// # Panics
/// When the condition does not hold within `bound`.
#[track_caller]
pub fn wait_until<T>(
    what: &str,
    bound: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if start.elapsed() > bound => {
                panic!("waited {bound:?} in vain until {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Sets a flag when it goes. Threads that run until then must end with the scope that waits for them, also when what the
/// scope does fails: else the test would wait for ever, and tell nobody why.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
