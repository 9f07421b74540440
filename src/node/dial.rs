//! Dials every door, serves while connected, dials again with back-off.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::backoff::{dice, pause};
use super::doors::DoorState;
use super::run::Inner;
use super::service::answer;
use crate::transport::{BUFFER_BYTES, DialError, Dialled, SILENCE_MAX};
use crate::types::Generation;
use crate::wire::{Purpose, Refusal, RefusalKind, StandingKind};

impl Inner {
    /// Dials the configured doors and these, as far as they are not dialled yet.
    pub(super) fn dial_all(self: &Arc<Self>, learned: &[String]) {
        if self.state().left() {
            return;
        }
        for door in self.doors.want(learned) {
            let inner = self.clone();
            self.spawn(async move { inner.keep(&door).await });
        }
    }

    /// Stays connected to a door until the node stops or has left, or the door
    /// is unwanted.
    async fn keep(self: Arc<Self>, door: &str) {
        let mut stopped = self.stop.subscribe();
        let mut failures = 0;
        loop {
            let hello = self.hello(Purpose::Control);
            let outcome = tokio::select! {
                _ = stopped.wait_for(|&stopped| stopped) => return,
                outcome = self.dialler.dial(door, &hello) => outcome,
            };
            let passing = match outcome {
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
            if self.doors.forget_unwanted(door) || self.state().left() {
                return;
            }
            let pause = pause(failures, passing, dice());
            failures += 1;
            if tokio::time::timeout(pause, stopped.wait_for(|&stopped| stopped)).await.is_ok() {
                return;
            }
        }
    }

    /// Serves a control connection to its end. True if anything was asked.
    async fn attend(self: &Arc<Self>, door: &str, dialled: Dialled) -> bool {
        tracing::info!(node = %self.node, door, "connected");
        self.doors.set(door, DoorState::Connected);
        self.learn(dialled.welcome.generation, &dialled.welcome.doors);
        self.verdict.send_replace(Some(Ok(())));
        let asked = self.serve(door, dialled).await;
        tracing::info!(node = %self.node, door, "disconnected");
        self.doors.set(door, DoorState::Waiting { reason: "the connection was closed".to_owned() });
        asked
    }

    /// Blocks for an fsync, but only when the cluster has changed.
    pub(super) fn learn(self: &Arc<Self>, generation: Generation, doors: &[String]) {
        let learned = self.state().learn(generation, doors);
        if let Err(error) = learned {
            tracing::warn!(node = %self.node, %error, "cannot remember what the door said");
        }
        let doors = self.state().doors().to_vec();
        self.dial_all(&doors);
    }

    fn note(&self, door: &str, error: &DialError) {
        let news = self.doors.set(door, DoorState::Waiting { reason: error.to_string() });
        if let DialError::Refused(refusal) = error {
            self.consider(refusal);
        }
        if !may_pass(error) {
            self.verdict.send_if_modified(|verdict| {
                let first = verdict.is_none();
                if first {
                    *verdict = Some(Err(error.to_string()));
                }
                first
            });
        }
        match error {
            // Connections that broke are not noticed at once; it passes by itself.
            DialError::Refused(refusal) if refusal.kind == RefusalKind::Busy => {
                tracing::debug!(node = %self.node, door, %error, "not connected yet");
            }
            _ if news => tracing::warn!(node = %self.node, door, %error, "not connected"),
            _ => {}
        }
    }

    /// That the node has left is believed only if it was about to: a refusal
    /// comes before the door has proved that it speaks for the cluster today.
    fn consider(&self, refusal: &Refusal) {
        let mut state = self.state();
        let draining = state.standing().is_some_and(|standing| standing.kind == StandingKind::Draining);
        if refusal.kind != RefusalKind::Left || !(state.leaving() || draining) {
            return;
        }
        match state.set_left() {
            Ok(true) => tracing::info!(node = %self.node, "the node has left the cluster: its disk can be wiped"),
            Ok(false) => {}
            Err(error) => tracing::warn!(node = %self.node, %error, "that the node has left could not be written down"),
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
