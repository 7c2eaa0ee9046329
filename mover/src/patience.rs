//! The waiting bench: what others have used up is asked for again, for a while.

use std::time::Duration;

use rustix::io::Errno;

/// How often, and after which pause, something is asked for: two seconds in all.
const ATTEMPTS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until there is something; `None` when there was nothing for too long.
pub(crate) fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..ATTEMPTS {
        let answer = ask();
        if answer.is_some() {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
    None
}

/// Opens something; waits for those that are in flight when too many files are open.
pub(crate) fn patiently<T>(open: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let opened = wait_for(|| match open() {
        Err(Errno::MFILE | Errno::NFILE | Errno::INTR) => None,
        other => Some(other),
    });
    opened.unwrap_or_else(open)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn only_what_passes_is_waited_for() {
        let calls = Cell::new(0);
        let after_three = |error: Errno| {
            calls.set(0);
            patiently(|| {
                calls.set(calls.get() + 1);
                if calls.get() <= 3 { Err(error) } else { Ok(()) }
            })
        };
        for passing in [Errno::MFILE, Errno::NFILE, Errno::INTR] {
            assert_eq!((after_three(passing), calls.get()), (Ok(()), 4));
        }
        assert_eq!((after_three(Errno::ACCESS), calls.get()), (Err(Errno::ACCESS), 1));
    }
}
