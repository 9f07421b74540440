//! Dials every door, serves while connected, dials again with back-off.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::run::{DoorState, DoorStatus, Inner};
use super::service::answer;
use crate::transport::{BUFFER_BYTES, DialError, Dialled, SILENCE_MAX};
use crate::wire::{Purpose, RefusalKind, Welcome};

/// The first retry comes within this time; it doubles with every failure.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Retries never take longer, and those that a person has to help always take
/// about as long.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The doors that a node dials.
pub(super) struct Doors {
    configured: Vec<String>,
    links: Mutex<BTreeMap<String, Link>>,
}

struct Link {
    state: DoorState,
    extra: usize,
    /// Configured, or in the list that the cluster sent last.
    wanted: bool,
}

impl Doors {
    pub(super) fn new(configured: Vec<String>) -> Self {
        Self { configured, links: Mutex::default() }
    }

    pub(super) fn status(&self) -> Vec<DoorStatus> {
        let status = |(door, link): (&String, &Link)| DoorStatus {
            door: door.clone(),
            state: link.state.clone(),
            extra_connections: link.extra,
        };
        self.links().iter().map(status).collect()
    }

    /// Marks which doors are wanted; returns those that were not known.
    fn want(&self, learned: &[String]) -> Vec<String> {
        let mut links = self.links();
        links.iter_mut().for_each(|(door, link)| link.wanted = self.configured.contains(door));
        let mut fresh = Vec::new();
        for door in self.configured.iter().chain(learned) {
            links.entry(door.clone()).and_modify(|link| link.wanted = true).or_insert_with(|| {
                fresh.push(door.clone());
                Link { state: DoorState::Dialling, extra: 0, wanted: true }
            });
        }
        fresh
    }

    /// Forgets a door that nobody wants any more. True if it was.
    fn forget_unwanted(&self, door: &str) -> bool {
        let mut links = self.links();
        let unwanted = links.get(door).is_none_or(|link| !link.wanted);
        if unwanted {
            links.remove(door);
        }
        unwanted
    }

    /// Sets how the node stands with a door. True if the reason is news.
    fn set(&self, door: &str, state: DoorState) -> bool {
        let mut links = self.links();
        let Some(link) = links.get_mut(door) else { return false };
        let known = match (&link.state, &state) {
            (DoorState::Waiting { reason: old }, DoorState::Waiting { reason: new }) => old == new,
            _ => false,
        };
        link.state = state;
        !known
    }

    /// Takes room for up to `count` extra connections; returns how many.
    fn take_extra(&self, door: &str, count: usize, max: usize) -> usize {
        self.links().get_mut(door).map_or(0, |link| {
            let taken = count.min(max.saturating_sub(link.extra));
            link.extra += taken;
            taken
        })
    }

    fn give_extra(&self, door: &str) {
        if let Some(link) = self.links().get_mut(door) {
            link.extra = link.extra.saturating_sub(1);
        }
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<String, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Dials the configured doors and these, as far as they are not dialled yet.
    pub(super) fn dial_all(self: &Arc<Self>, learned: &[String]) {
        for door in self.doors.want(learned) {
            let inner = self.clone();
            self.spawn(async move { inner.keep(&door).await });
        }
    }

    /// Stays connected to a door until the node stops or the door is unwanted.
    async fn keep(self: Arc<Self>, door: &str) {
        let mut stopped = self.stop.subscribe();
        let mut failures = 0;
        loop {
            let hello = self.hello(Purpose::Control);
            let outcome = tokio::select! {
                _ = stopped.wait_for(|&stopped| stopped) => return,
                outcome = self.dialler.dial(door, &hello) => outcome,
            };
            let transient = match outcome {
                Ok(dialled) => {
                    // A door that asked for something is in good health.
                    if self.attend(door, dialled).await {
                        failures = 0;
                    }
                    true
                }
                Err(error) => {
                    self.note(door, &error);
                    may_pass(&error)
                }
            };
            if self.doors.forget_unwanted(door) {
                return;
            }
            let pause = pause(failures, transient, dice());
            failures += 1;
            if tokio::time::timeout(pause, stopped.wait_for(|&stopped| stopped)).await.is_ok() {
                return;
            }
        }
    }

    /// Serves a control connection to its end. True if anything was asked.
    async fn attend(self: &Arc<Self>, door: &str, dialled: Dialled) -> bool {
        tracing::info!(node = %self.node, door, "connected");
        self.doors.set(door, DoorState::Connected { since: Instant::now() });
        self.learn(&dialled.welcome);
        let asked = self.serve(door, dialled).await;
        tracing::info!(node = %self.node, door, "disconnected");
        self.doors.set(door, DoorState::Waiting { reason: "the connection was closed".to_owned() });
        asked
    }

    /// Blocks for an fsync, but only when the cluster has changed.
    fn learn(self: &Arc<Self>, welcome: &Welcome) {
        if let Err(error) = self.state().learn(welcome.generation, &welcome.doors) {
            tracing::warn!(node = %self.node, %error, "cannot remember what the door said");
        }
        let doors = self.state().doors().to_vec();
        self.dial_all(&doors);
    }

    fn note(&self, door: &str, error: &DialError) {
        let news = self.doors.set(door, DoorState::Waiting { reason: error.to_string() });
        match error {
            // Connections that broke are not noticed at once; it passes by itself.
            DialError::Refused(refusal) if refusal.kind == RefusalKind::Busy => {
                tracing::debug!(node = %self.node, door, %error, "not connected yet");
            }
            _ if news => tracing::warn!(node = %self.node, door, %error, "not connected"),
            _ => {}
        }
    }

    /// Dials what a door asked for, without waiting for it.
    pub(super) fn dial_more(self: &Arc<Self>, door: &str, count: u8) {
        for _ in 0..self.doors.take_extra(door, usize::from(count), self.extra_connections) {
            let (inner, door) = (self.clone(), door.to_owned());
            self.spawn(async move {
                inner.extra(&door).await;
                inner.doors.give_extra(&door);
            });
        }
    }

    async fn extra(self: &Arc<Self>, door: &str) {
        let hello = self.hello(Purpose::Data);
        let mut stopped = self.stop.subscribe();
        let dialled = tokio::select! {
            _ = stopped.wait_for(|&stopped| stopped) => return,
            dialled = self.dialler.dial(door, &hello) => dialled,
        };
        match dialled {
            Ok(dialled) => drop(self.serve(door, dialled).await),
            Err(error) => tracing::debug!(node = %self.node, door, %error, "no extra connection"),
        }
    }

    /// Answers the door's requests until one side closes, the path is dead, or
    /// the node stops; the request in flight is finished then. True if anything
    /// was asked.
    async fn serve(self: &Arc<Self>, door: &str, dialled: Dialled) -> bool {
        let door: Arc<str> = door.into();
        let asked = AtomicBool::new(false);
        let service = service_fn(|request| {
            asked.store(true, Relaxed);
            answer(self.clone(), door.clone(), request)
        });
        let mut builder = http1::Builder::new();
        builder.half_close(false).auto_date_header(false).max_buf_size(2 * BUFFER_BYTES);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(dialled.stream), service));
        let mut stopped = self.stop.subscribe();
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(node = %self.node, %door, %error, "a connection broke");
                }
                return asked.load(Relaxed);
            }
            () = dialled.activity.stalled(SILENCE_MAX) => {
                tracing::debug!(node = %self.node, %door, "nothing was heard from the door for too long");
                return asked.load(Relaxed);
            }
            _ = stopped.wait_for(|&stopped| stopped) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
        asked.load(Relaxed)
    }
}

/// Whether the reason may pass without anyone's help.
fn may_pass(error: &DialError) -> bool {
    match error {
        DialError::Refused(refusal) => matches!(refusal.kind, RefusalKind::Busy | RefusalKind::Duplicate),
        other => other.is_transient(),
    }
}

/// How long to wait before the next attempt: at random below a ceiling, so
/// that nodes which lost a door together do not come back together.
fn pause(failures: u32, transient: bool, dice: u64) -> Duration {
    let ceiling = match transient {
        true => RETRY_FIRST.saturating_mul(1 << failures.min(16)).min(RETRY_MAX),
        false => RETRY_MAX,
    };
    let floor = if transient { ceiling / 8 } else { ceiling / 2 };
    floor + (ceiling - floor).mul_f64(dice as f64 / u64::MAX as f64)
}

fn dice() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers TLS would have failed before; any spread will do.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_jitter_up_to_half_a_minute() {
        for dice in [0, u64::MAX / 3, u64::MAX] {
            assert!(pause(0, true, dice) <= RETRY_FIRST);
            assert!(pause(3, true, dice) <= Duration::from_secs(4));
            for failures in [7, 40, u32::MAX] {
                let pause = pause(failures, true, dice);
                assert!(pause > Duration::from_secs(3) && pause <= RETRY_MAX);
            }
            assert!(pause(0, false, dice) >= Duration::from_secs(15));
        }
        assert!(pause(5, true, 0) < pause(5, true, u64::MAX));
    }

    #[test]
    fn learned_doors_come_and_go_and_configured_ones_stay() {
        let doors = Doors::new(vec!["a:1".to_owned()]);
        let [b, c] = ["b:1".to_owned(), "c:1".to_owned()];
        assert_eq!(doors.want(std::slice::from_ref(&b)), ["a:1", "b:1"]);
        assert_eq!(doors.want(std::slice::from_ref(&c)), ["c:1"]);
        assert!(doors.forget_unwanted(&b) && !doors.forget_unwanted(&c) && !doors.forget_unwanted("a:1"));
    }

    #[test]
    fn extra_connections_are_bounded() {
        let doors = Doors::new(vec!["a:1".to_owned()]);
        doors.want(&[]);
        assert_eq!(doors.take_extra("a:1", 5, 8), 5);
        assert_eq!(doors.take_extra("a:1", 5, 8), 3);
        doors.give_extra("a:1");
        assert_eq!(doors.take_extra("a:1", 64, 8), 1);
        assert_eq!(doors.take_extra("b:1", 1, 8), 0);
    }
}
