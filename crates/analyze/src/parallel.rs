//! Parallel execution of tasks. Each thread takes the next free task and accumulates its results, so that memory grows with the number of threads,
//! not of tasks.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, bail};

/// Runs tasks 0 to `count`. Each thread starts with a state from `begin`; `take` adds the result of a task to it. Returns the results of `finish`
/// for these states.
///
/// # Errors
/// The error of the first task that fails, for any number of threads: tasks are taken in order, and a task that was taken is finished.
pub fn each<T, R: Send>(
    count: usize,
    threads: NonZeroUsize,
    begin: impl Fn() -> T + Sync,
    take: impl Fn(&mut T, usize) -> Result<()> + Sync,
    finish: impl Fn(T) -> R + Sync,
) -> Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let run = || -> Result<R, (usize, anyhow::Error)> {
        let mut state = begin();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            take(&mut state, index).map_err(|error| {
                failed.store(true, Ordering::Relaxed);
                (index, error)
            })?;
        }
        Ok(finish(state))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.get().min(count)).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut states, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(Ok(state)) => states.push(state),
            Ok(Err(error)) => errors.push(error),
            Err(_) => bail!("a thread ended unexpectedly; this is a bug in iostrata-analyze"),
        }
    }
    match errors.into_iter().min_by_key(|(index, _)| *index) {
        Some((_, error)) => Err(error),
        None => Ok(states),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("not zero")
    }

    #[test]
    fn everything_is_done_once() {
        for count in [0, 1, 2, 100] {
            let take = |done: &mut Vec<usize>, number| {
                done.push(number);
                Ok(())
            };
            let mut done = each(count, threads(3), Vec::new, take, |done| done).expect("nothing fails").concat();
            done.sort_unstable();
            assert_eq!(done, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_is_told_whoever_is_faster() {
        let take = |_: &mut (), number: usize| if number >= 7 { bail!("{number}") } else { Ok(()) };
        for count in 1..5 {
            let error = each(100, threads(count), || (), take, |()| ()).expect_err("all from the seventh on");
            assert_eq!(error.to_string(), "7");
        }
    }
}
