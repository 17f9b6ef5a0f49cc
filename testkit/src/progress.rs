//! Progress of long steps: a spinner on a terminal, plain lines otherwise. All of it goes to
//! standard error, so that standard output contains results only.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A step in progress. If dropped without [`Step::done`], it is reported as failed.
pub struct Step {
    what: String,
    started: Instant,
    bar: Option<ProgressBar>,
    /// The last text printed, if output is not a terminal.
    said: RefCell<String>,
    finished: bool,
}

impl Step {
    /// Starts and announces a step.
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{what} …");
        }
        Self { what, started: Instant::now(), bar, said: RefCell::default(), finished: false }
    }

    /// Reports progress of the step.
    pub fn note(&self, text: impl Into<String>) {
        match &self.bar {
            Some(bar) => bar.set_message(text.into()),
            None => eprintln!("  {}", text.into()),
        }
    }

    /// Reports the current activity and how much of the total is done: a bar on a terminal, otherwise a line whenever `text`
    /// changes.
    pub fn progress(&self, text: &str, done: u64, all: u64) {
        match &self.bar {
            Some(bar) => {
                if bar.length().is_none()
                    && let Ok(style) = ProgressStyle::with_template(
                        "{spinner} {prefix} {bar:30} {human_pos}/{human_len} {wide_msg} {elapsed}",
                    )
                {
                    bar.set_style(style);
                }
                bar.set_length(all);
                bar.set_position(done.min(all));
                bar.set_message(text.to_owned());
            }
            None if *self.said.borrow() != text => {
                eprintln!("  {text}");
                text.clone_into(&mut self.said.borrow_mut());
            }
            None => {}
        }
    }

    /// Ends the step; `result` is shown after its name.
    pub fn done(mut self, result: &str) {
        self.close("✓", result);
    }

    fn close(&mut self, mark: &str, result: &str) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let gap = if result.is_empty() { "" } else { ": " };
        eprintln!(
            "{mark} {}{gap}{result} ({:.1} s)",
            self.what,
            self.started.elapsed().as_secs_f64()
        );
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.close("✗", "failed");
    }
}
