//! How a process does, from its first moment to its last: what `cairn health`
//! and the observe address say of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::Method;
use serde::{Deserialize, Serialize};

use super::observe::Exposition;
use super::operator::{Command, Operator};
use super::{AdminError, ErrorKind};

/// Whether a process can do what it is there for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it can.
    pub ready: bool,
    /// What it is: `up`, `gateway`, `worker` or `node`.
    pub what: String,
    /// What it does, or what is missing.
    pub sentence: String,
}

/// What a process is there for, once it has started.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// What it does, or what it cannot do without.
    async fn ready(&self) -> Result<String, String>;

    /// What it counts.
    fn measure(&self, page: &mut Exposition);
}

/// Where a process is in its life. Cheap to clone.
#[derive(Clone)]
pub struct Stage {
    what: &'static str,
    began_s: f64,
    now: Arc<Mutex<Now>>,
}

struct Now {
    /// Why it is not ready, whatever the subject says: it starts or stops.
    unready: Option<String>,
    subject: Option<Arc<dyn Subject>>,
}

impl Stage {
    /// A process of this kind that begins to start.
    pub fn starting(what: &'static str) -> Self {
        let began_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let now = Now { unready: Some("it is starting".to_owned()), subject: None };
        Self { what, began_s, now: Arc::new(Mutex::new(now)) }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It cannot go on before this has come.
    pub fn waits_for(&self, what: &str) {
        self.now().unready = Some(format!("it is starting, and waits for {what}"));
    }

    /// It has started.
    pub fn runs(&self, subject: impl Subject) {
        *self.now() = Now { unready: None, subject: Some(Arc::new(subject)) };
    }

    /// It takes nothing new any more.
    pub fn stops(&self) {
        self.now().unready = Some("it is stopping".to_owned());
    }

    /// Whether it can do what it is there for.
    pub async fn health(&self) -> Health {
        let (unready, subject) = {
            let now = self.now();
            (now.unready.clone(), now.subject.clone())
        };
        let said = match (unready, subject) {
            (Some(why), _) => Err(why),
            (None, Some(subject)) => subject.ready().await,
            (None, None) => Err("it is starting".to_owned()),
        };
        let ready = said.is_ok();
        Health { ready, what: self.what.to_owned(), sentence: said.unwrap_or_else(|why| why) }
    }

    /// Everything that it counts, in Prometheus' text format.
    pub async fn metrics(&self) -> String {
        let ready = self.health().await.ready;
        let mut page = Exposition::default();
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("command", self.what)];
        page.gauge("cairn_build_info", "Which Cairn this is; always 1").sample(&labels, 1);
        page.gauge("process_start_time_seconds", "When the process started, in seconds since 1970")
            .sample(&[], self.began_s);
        page.gauge("cairn_ready", "Whether the process can do what it is there for").sample(&[], u8::from(ready));
        let subject = self.now().subject.clone();
        if let Some(subject) = subject {
            subject.measure(&mut page);
        }
        page.into_text()
    }
}

/// Whether the process that serves can do so.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {}

impl Command for Probe {
    const METHOD: Method = Method::GET;
    const PATH: &'static str = "/v1/health";
    type Reply = Health;

    async fn run(&self, operator: &Operator) -> Result<Health, AdminError> {
        let live = operator.live();
        let live = live.ok_or_else(|| AdminError::new(ErrorKind::NotRunning, "no process serves this directory"))?;
        Ok(live.stage.health().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fine;

    #[async_trait]
    impl Subject for Fine {
        async fn ready(&self) -> Result<String, String> {
            Ok("all is well".to_owned())
        }

        fn measure(&self, page: &mut Exposition) {
            page.gauge("fine", "Whether").sample(&[], 1);
        }
    }

    #[tokio::test]
    async fn a_process_is_ready_between_its_start_and_its_end() {
        let stage = Stage::starting("gateway");
        let health = |ready: bool, sentence: &str| Health { ready, what: "gateway".into(), sentence: sentence.into() };
        assert_eq!(stage.health().await, health(false, "it is starting"));
        stage.waits_for("a database");
        assert_eq!(stage.health().await, health(false, "it is starting, and waits for a database"));
        assert!(stage.metrics().await.contains("\ncairn_ready 0\n"));
        stage.runs(Fine);
        assert_eq!(stage.health().await, health(true, "all is well"));
        assert!(stage.metrics().await.contains("\ncairn_ready 1\n"));
        stage.stops();
        assert_eq!(stage.health().await, health(false, "it is stopping"));
        assert!(stage.metrics().await.contains("\nfine 1\n"), "its last counts can be read");
    }
}
