//! The queue before the log: lines are gathered here, and a thread of its own writes them. Whoever reads the log may be
//! slow or stand still, and no request waits for that.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the writer lets lines gather before it takes them. To wake it for each one costs the request that logs
/// more than all the rest of the line.
const GATHERING: Duration = Duration::from_millis(5);

/// How long the end of the process waits for whoever reads the log.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes lines; clones share the queue.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes that wait; what does not find room is dropped and counted.
    most: usize,
    tell: fn(usize),
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    dropped: usize,
    /// The writer waits to be woken.
    asleep: bool,
    /// No more will come.
    closed: bool,
    /// All that came is written.
    finished: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("most", &self.0.most)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// Takes a line with its end, or drops it when too much waits.
    pub(super) fn take(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > self.0.most {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.0.changed.notify_all();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, longest: Option<Duration>) -> MutexGuard<'a, State> {
        match longest {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(longest) => {
                let waited = self.changed.wait_timeout(state, longest);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Waits for lines and takes all of them in exchange for an empty buffer; how many were dropped meanwhile comes
    /// along. None at the end.
    fn next(&self, written: Vec<u8>) -> Option<(Vec<u8>, usize)> {
        let mut state = self.lock();
        while state.waiting.is_empty() && state.dropped == 0 {
            if state.closed {
                return None;
            }
            state.asleep = true;
            state = self.wait(state, None);
        }
        if !state.closed {
            state = self.wait(state, Some(GATHERING));
        }
        state.asleep = false;
        let lines = std::mem::replace(&mut state.waiting, written);
        Some((lines, std::mem::take(&mut state.dropped)))
    }

    fn write(&self, mut to: impl Write) {
        let mut buffer = Vec::new();
        while let Some((mut lines, dropped)) = self.next(buffer) {
            // There is nobody to tell that the log cannot be written.
            let _ = to.write_all(&lines).and_then(|()| to.flush());
            lines.clear();
            buffer = lines;
            if dropped > 0 {
                (self.tell)(dropped);
            }
        }
        self.lock().finished = true;
        self.changed.notify_all();
    }
}

/// Writes what is left of the log when it is dropped; gives up after a second when nobody takes it.
#[derive(Debug)]
pub struct Flush(Queue);

impl Drop for Flush {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.lock().closed = true;
        shared.changed.notify_all();
        let state = shared.lock();
        // Whether it finished or not, the process ends.
        let _ = shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !state.finished);
    }
}

/// Puts a queue of so many bytes and a thread before a writer. `tell` is told how many lines found no room, as soon
/// as there is some.
pub(super) fn before(to: impl Write + Send + 'static, most: usize, tell: fn(usize)) -> io::Result<(Queue, Flush)> {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        changed: Condvar::new(),
        most,
        tell,
    });
    let writing = Arc::clone(&shared);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writing.write(to))?;
    let queue = Queue(shared);
    Ok((queue.clone(), Flush(queue)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::tests::Sink;
    use super::*;

    /// A reader that takes nothing until it is told to.
    #[derive(Clone, Default)]
    struct Stuck {
        taken: Sink,
        free: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (free, changed) = &*self.free;
            drop(changed.wait_while(free.lock().unwrap(), |free| !*free).unwrap());
            self.taken.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    static TOLD: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up_and_what_is_lost_is_told() {
        let (stuck, line) = (Stuck::default(), [b"x".repeat(99), b"\n".to_vec()].concat());
        let (queue, flush) = before(stuck.clone(), 400, |lines| {
            TOLD.fetch_add(lines, Ordering::SeqCst);
        })
        .unwrap();
        for _ in 0..20 {
            queue.take(&line);
            std::thread::sleep(GATHERING / 2);
        }
        assert!(stuck.taken.bytes().is_empty(), "it took something");
        let (free, changed) = &*stuck.free;
        *free.lock().unwrap() = true;
        changed.notify_all();
        drop(flush);
        let written = stuck.taken.bytes().len() / line.len();
        assert_eq!(written + TOLD.load(Ordering::SeqCst), 20);
        // Four wait, and at most as many are in the writer's hands.
        assert!((4..=8).contains(&written), "{written} lines were written");
    }

    #[test]
    fn the_end_writes_what_waits() {
        let sink = Sink::default();
        let (queue, flush) = before(sink.clone(), 1 << 20, |lines| panic!("{lines} lines were dropped")).unwrap();
        for _ in 0..500 {
            queue.take(b"line\n");
        }
        drop(flush);
        assert_eq!(sink.bytes().len(), 500 * 5);
    }

    #[test]
    fn a_line_is_written_soon_although_no_other_follows() {
        let sink = Sink::default();
        let (queue, _flush) = before(sink.clone(), 1 << 20, |_| {}).unwrap();
        for expected in 1..=3 {
            queue.take(b"line\n");
            let soon = Duration::from_secs(10);
            let mut waited = Duration::ZERO;
            while sink.bytes().len() < expected * 5 {
                assert!(waited < soon, "line {expected} was not written");
                std::thread::sleep(GATHERING);
                waited += GATHERING;
            }
        }
    }
}
