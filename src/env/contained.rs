//! Work that may panic without ending the process: that of one request.
//!
//! Only work whose loss harms nobody else belongs here. What such work spawned
//! is not contained: a panic there still ends the process.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Contained work panicked. The panic hook has said where and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a defect in the program")]
pub struct Panicked;

/// Whether a panic of this thread, now, would be caught. For the panic hook.
pub fn is_contained() -> bool {
    CONTAINED.get()
}

/// Does `work` and catches its panic. What it leaves half done must not be
/// used again.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = CONTAINED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(outer);
    outcome.map_err(|_| Panicked)
}

/// The same for a future, which ends with its panic.
pub async fn contain_future<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    poll_fn(|cx| match contain(|| work.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_and_only_contained_work_is_marked() {
        assert!(!is_contained());
        assert_eq!(contain(is_contained), Ok(true));
        assert_eq!(contain(|| contain(|| panic!("inner")).is_err() && is_contained()), Ok(true));
        assert_eq!(contain(|| -> u8 { panic!("outer") }), Err(Panicked));
        assert!(!is_contained());
    }

    #[tokio::test]
    async fn a_future_is_contained_only_while_it_runs() {
        let work = contain_future(async {
            tokio::task::yield_now().await;
            is_contained()
        });
        let mut work = pin!(work);
        let first = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        assert!(first.is_pending() && !is_contained());
        assert_eq!(work.await, Ok(true));
        let late = contain_future(async {
            tokio::task::yield_now().await;
            panic!("late");
        });
        assert_eq!(late.await, Err::<(), _>(Panicked));
    }
}
