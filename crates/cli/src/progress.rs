//! Progress on standard error: a bar in a terminal, elsewhere a line every ten seconds.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use forage_training::observer::Observer;
use indicatif::{ProgressBar, ProgressStyle, WeakProgressBar};

use crate::{interrupt, output};

/// Time between lines without a terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Time between messages of a bar.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// The bar that is drawn last, for which the log makes room.
static DRAWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// Writer of the log: standard error, without disturbing the bar.
#[derive(Debug)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let drawn = DRAWN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .and_then(WeakProgressBar::upgrade);
        match drawn {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The bar, once the log knows of it.
fn known_to_log(bar: ProgressBar) -> ProgressBar {
    *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
    bar
}

/// Progress of a known number of items.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    done: u64,
    started_at: u64,
    start: Instant,
    said: Instant,
}

impl Progress {
    /// Starts at `done` of `total`.
    pub fn new(what: &'static str, done: u64, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{prefix:>10} {bar:32} {pos}/{len}  {per_sec}  {eta} left  {msg}",
            )
            .expect("the template is valid");
            let bar = ProgressBar::new(total).with_style(style).with_prefix(what);
            bar.set_position(done);
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(200));
            known_to_log(bar)
        });
        let now = Instant::now();
        Self { bar, what, total, done, started_at: done, start: now, said: now }
    }

    /// Reports that `done` items are done, with a message about the last.
    pub fn set(&mut self, done: u64, message: &str) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(message.to_owned());
        } else if self.said.elapsed() >= PLAIN_EVERY || done == self.total {
            self.said = Instant::now();
            let elapsed = self.start.elapsed().as_secs_f64();
            let rate = (done - self.started_at) as f64 / elapsed.max(1e-3);
            let left = (self.total - done) as f64 / rate.max(1e-9);
            output::message(format_args!(
                "{} {done}/{}  {rate:.1}/s  {} left  {message}",
                self.what,
                self.total,
                clock(left)
            ));
        }
    }

    /// Prints a line without disturbing the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::message(format_args!("{line}"))),
            None => output::message(format_args!("{line}")),
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Progress by the bytes of files, whose number may be unknown.
#[derive(Debug)]
pub struct ByteProgress {
    bar: Option<ProgressBar>,
    total: Option<u64>,
    start: Instant,
    said: Cell<Instant>,
}

impl ByteProgress {
    /// Starts at the first of `total` bytes.
    pub fn new(total: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| known_to_log(byte_bar(total)));
        Self { bar, total, start: now, said: Cell::new(now) }
    }

    /// Reports that `bytes` were read, in which there were `count` things.
    pub fn set(&self, bytes: u64, count: u64, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            // Not for each of a million rows.
            if self.said.get().elapsed() >= BAR_EVERY {
                self.said.set(Instant::now());
                bar.set_message(format!("{count} {what}"));
            }
        } else if self.said.get().elapsed() >= PLAIN_EVERY {
            self.said.set(Instant::now());
            let seconds = self.start.elapsed().as_secs_f64();
            let rate = count as f64 / seconds;
            match self.total {
                Some(total) if bytes > 0 => {
                    let share = bytes as f64 / total as f64;
                    let left = seconds * (1.0 - share) / share;
                    let percent = share * 100.0;
                    output::message(format_args!(
                        "{percent:.0} %: {count} {what}, {rate:.0} a second, {left:.0} s left"
                    ));
                }
                _ => output::message(format_args!("{count} {what}, {rate:.0} a second")),
            }
        }
    }

    /// Reports a phase that no bytes measure.
    pub fn set_phase(&self, message: String) {
        match &self.bar {
            Some(bar) => {
                let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
                bar.set_style(style.expect("the template is valid"));
                bar.set_message(message);
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            None => output::message(message),
        }
    }

    /// Prints a line without disturbing the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::message(line)),
            None => output::message(line),
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn byte_bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{bar:30} {percent:>3} %  {binary_bytes_per_sec}  {eta} left  {msg}",
        ),
        None => (ProgressBar::no_length(), "{spinner} {binary_bytes_per_sec}  {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates are valid"))
}

/// Observer of a run that shows its progress and its warnings on standard error, and stops it after
/// Ctrl-C.
#[derive(Debug, Default)]
pub struct TerminalObserver {
    progress: RefCell<Option<Progress>>,
}

impl TerminalObserver {
    fn say(&self, line: &str) {
        match &*self.progress.borrow() {
            Some(progress) => progress.say(line),
            None => output::message(format_args!("{line}")),
        }
    }
}

impl Observer for TerminalObserver {
    fn started(&self, phase: &'static str, done: u64, total: u64) {
        self.progress.replace(Some(Progress::new(phase, done, total)));
    }

    fn advanced(&self, done: u64, message: &str) {
        if let Some(progress) = &mut *self.progress.borrow_mut() {
            progress.set(done, message);
        }
    }

    fn finished(&self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }

    fn note(&self, line: &str) {
        self.say(line);
    }

    fn warning(&self, message: &str) {
        self.say(&format!("warning: {message}"));
    }

    fn should_stop(&self) -> bool {
        interrupt::requested()
    }
}

/// Seconds as `4:05`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    if seconds >= 3600 {
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    } else {
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }
}
