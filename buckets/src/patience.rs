//! The anteroom: how often, how fast and for how long a server is asked again.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass_mover::storage::StorageError;

/// How long a call goes on trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first try, or from the last byte that came, to the last try.
    pub deadline: Duration,
    /// The longest pause before the second try; each later one may be twice as long.
    pub first_pause: Duration,
    /// No pause is longer, unless the server asks for a longer one.
    pub longest_pause: Duration,
    /// How long one try may stay without any progress before it counts as lost.
    pub silence_max: Duration,
}

impl Default for Patience {
    /// Five minutes, as long as a server may be restarted or a network be away.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(300),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(20),
            silence_max: Duration::from_secs(60),
        }
    }
}

impl Patience {
    /// For the first call to a place, which may not exist at all.
    pub(crate) fn at_first(self) -> Self {
        Self {
            deadline: self.deadline.min(Duration::from_secs(10)),
            ..self
        }
    }
}

/// Whether another try makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The same answer would come.
    Never,
    /// After a pause.
    Soon,
    /// The server has too much to do: all calls wait, for as long as it asks if it asks.
    SlowDown(Option<Duration>),
}

/// A try that did not succeed.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What to tell when there is no other try.
    pub error: StorageError,
    /// Whether there may be.
    pub again: Again,
}

impl Refusal {
    /// What no other try changes.
    pub(crate) fn last(error: StorageError) -> Self {
        Self {
            error,
            again: Again::Never,
        }
    }
}

/// The pauses of one storage. Those that the server asks for hold for all calls.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    patience: Patience,
    closed_until: Arc<Mutex<Option<Instant>>>,
}

impl Pace {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            closed_until: Arc::default(),
        }
    }

    /// The same gate with another patience.
    pub(crate) fn with(&self, patience: Patience) -> Self {
        Self {
            patience,
            closed_until: Arc::clone(&self.closed_until),
        }
    }

    /// How long one try may be silent.
    pub(crate) fn silence_max(&self) -> Duration {
        self.patience.silence_max
    }

    /// How long a try that moves so many bytes may take before it is answered: slow lines are no lost ones.
    pub(crate) fn answer_within(&self, len: usize) -> Duration {
        const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;
        self.silence_max() + Duration::from_secs(len as u64 / SLOWEST_BYTES_PER_SECOND)
    }

    /// The tries of one call.
    pub(crate) fn tries(&self) -> Tries<'_> {
        Tries {
            pace: self,
            since: Instant::now(),
            failed: 0,
        }
    }

    /// Asks until there is an answer; `judge` may take a failure for one. A try is given up after `longest`.
    ///
    /// # Errors
    /// What the last try met.
    pub(crate) async fn ask<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        doing: &'static str,
        place: &str,
        longest: Duration,
        mut ask: impl FnMut() -> F,
        mut judge: impl FnMut(E) -> Result<T, Refusal>,
    ) -> Result<T, StorageError> {
        let mut tries = self.tries();
        loop {
            tries.gate().await;
            let answer = within(longest, doing, place, ask()).await;
            match answer.and_then(|answer| answer.or_else(&mut judge)) {
                Ok(answer) => return Ok(answer),
                Err(refusal) => tries.again(refusal).await?,
            }
        }
    }

    fn gate(&self) -> Option<Instant> {
        *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, until: Instant) {
        let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = Some(closed.map_or(until, |before| before.max(until)));
    }
}

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    pace: &'a Pace,
    since: Instant,
    failed: u32,
}

impl Tries<'_> {
    /// Some of what was asked for has come: the deadline begins anew.
    pub(crate) fn progressed(&mut self) {
        self.since = Instant::now();
        self.failed = self.failed.min(1);
    }

    /// Waits while the server wants no calls. To be asked before each try.
    pub(crate) async fn gate(&self) {
        if let Some(until) = self.pace.gate().filter(|until| *until > Instant::now()) {
            // Not all at the same moment.
            tokio::time::sleep_until(until + part_of(self.pace.patience.first_pause)).await;
        }
    }

    /// Waits before another try.
    ///
    /// # Errors
    /// What the last try met, when there is to be no other.
    pub(crate) async fn again(&mut self, refusal: Refusal) -> Result<(), StorageError> {
        let Refusal { error, again } = refusal;
        let Patience {
            deadline,
            first_pause,
            longest_pause,
            ..
        } = self.pace.patience;
        let longest = first_pause.saturating_mul(1 << self.failed.min(16)).min(longest_pause);
        let pause = match again {
            Again::Never => return Err(error),
            Again::Soon => part_of(longest),
            // Half of it is certain: a server that is overloaded gains nothing from a short pause.
            Again::SlowDown(asked) => asked.unwrap_or(longest / 2) + part_of(longest / 2),
        };
        let now = Instant::now();
        if (now + pause).duration_since(self.since) > deadline {
            return Err(error);
        }
        self.failed += 1;
        tracing::debug!(error = %chain(&error), failed = self.failed, ?pause, "asking again");
        if matches!(again, Again::SlowDown(_)) {
            self.pace.close(now + pause);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Waits for an answer, but not for ever.
///
/// # Errors
/// [`StorageError::Io`] that may pass, when nothing came for so long.
pub(crate) async fn within<T>(
    longest: Duration,
    doing: &'static str,
    place: &str,
    answer: impl Future<Output = T>,
) -> Result<T, Refusal> {
    tokio::time::timeout(longest, answer).await.map_err(|_| Refusal {
        error: StorageError::Io {
            doing,
            place: place.to_owned(),
            source: io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {longest:?}")),
        },
        again: Again::Soon,
    })
}

fn part_of(longest: Duration) -> Duration {
    longest.mul_f64(fastrand::f64())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(again: Again) -> Refusal {
        Refusal {
            error: StorageError::Io {
                doing: "read",
                place: "there".to_owned(),
                source: io::ErrorKind::ConnectionReset.into(),
            },
            again,
        }
    }

    const QUICK: Patience = Patience {
        deadline: Duration::from_millis(300),
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(40),
        silence_max: Duration::from_millis(300),
    };

    #[tokio::test]
    async fn tries_end_at_the_deadline_and_progress_moves_it() {
        let pace = Pace::new(QUICK);
        let mut tries = pace.tries();
        let start = Instant::now();
        while tries.again(refusal(Again::Soon)).await.is_ok() {}
        let took = start.elapsed();
        assert!(took > QUICK.deadline / 2, "{took:?}");
        tries.progressed();
        assert!(tries.again(refusal(Again::Soon)).await.is_ok());
        assert!(tries.again(refusal(Again::Never)).await.is_err());
        let too_long = Again::SlowDown(Some(QUICK.deadline * 2));
        assert!(
            tries.again(refusal(too_long)).await.is_err(),
            "nobody waits beyond the deadline"
        );
    }

    #[tokio::test]
    async fn a_server_that_asks_for_a_pause_gets_it_from_every_call() {
        let pace = Pace::new(QUICK);
        let start = Instant::now();
        let asked = Duration::from_millis(150);
        let mut first = pace.tries();
        let others = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            pace.tries().gate().await;
            start.elapsed()
        };
        let (first, others) = tokio::join!(first.again(refusal(Again::SlowDown(Some(asked)))), others);
        assert!(first.is_ok() && others >= asked, "{others:?}");
    }
}
