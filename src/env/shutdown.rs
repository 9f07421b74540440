//! The order to stop, and how long finishing may take. It does not know where
//! the order came from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Tells every part of the process that it should finish what is in flight
/// and end. Clones are the same order.
#[derive(Debug, Clone)]
pub struct Shutdown {
    grace: Duration,
    deadline: Arc<watch::Sender<Option<Instant>>>,
}

impl Shutdown {
    /// What is in flight when the order comes has `grace` to finish.
    pub fn new(grace: Duration) -> Self {
        Self { grace, deadline: Arc::new(watch::Sender::new(None)) }
    }

    /// How long what is in flight may take.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// Gives the order. False if it had been given already; its deadline stays.
    pub fn request(&self) -> bool {
        let deadline = Instant::now() + self.grace;
        self.deadline.send_if_modified(|held| held.is_none() && held.replace(deadline).is_none())
    }

    /// Whether the order has been given.
    pub fn is_requested(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    /// Waits for the order.
    pub async fn requested(&self) {
        self.deadline_once_requested().await;
    }

    /// Waits for the order, and then until its time has run out.
    pub async fn expired(&self) {
        sleep_until(self.deadline_once_requested().await).await;
    }

    /// How much of the grace is left; none while nobody has asked to stop.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.borrow().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    async fn deadline_once_requested(&self) -> Instant {
        let mut watch = self.deadline.subscribe();
        let held = watch.wait_for(Option::is_some).await.expect("the sender lives in self");
        held.expect("waited for it to be there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_the_order_once_given() {
        let shutdown = Shutdown::new(Duration::from_millis(20));
        let clone = shutdown.clone();
        let waiter = tokio::spawn(async move { clone.requested().await });
        assert!(!shutdown.is_requested());
        assert_eq!(shutdown.remaining(), None);
        assert!(shutdown.request());
        assert!(!shutdown.request(), "a second order changes nothing");
        waiter.await.unwrap();
        shutdown.requested().await;
        shutdown.expired().await;
        assert_eq!(shutdown.remaining(), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn the_second_order_does_not_extend_the_time() {
        let shutdown = Shutdown::new(Duration::from_secs(3600));
        shutdown.request();
        let before = shutdown.remaining().unwrap();
        shutdown.request();
        assert!(shutdown.remaining().unwrap() <= before);
    }
}
