//! The transport's numbers, with the defaults that were measured or decided.

use std::time::Duration;

/// How a door treats its connections.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Connections per node, at most. Eight busy ones carry a node's full
    /// speed over slow, lossy paths; more cost CPU without carrying more.
    pub connections_per_node: usize,
    /// An extra connection that was not used for so long is closed.
    pub idle_extra_after: Duration,
    /// An idle connection is asked for a sign of life after so long.
    pub ping_after: Duration,
    /// How long it may take to answer. Together with `ping_after` this is how
    /// long a dead path stays unnoticed.
    pub ping_timeout: Duration,
    /// A request whose bytes do not move for so long has failed.
    pub progress_timeout: Duration,
    /// How long a request waits for a free connection to its node.
    pub queue_timeout: Duration,
    /// TLS handshake, hello and answer together.
    pub hello_timeout: Duration,
    /// How long the first instance may take to prove that it is alive when a
    /// second one shows the same identity. Less than `hello_timeout`.
    pub probe_timeout: Duration,
    /// How long requests wait for a node to dial again after a cancelled
    /// request took its last connection.
    pub redial_grace: Duration,
    /// Connections whose hello has not been judged, at most; others wait in
    /// the kernel's queue. Few enough that even a door which judges only a
    /// hundred per second is through with them within `hello_timeout`.
    pub handshakes_max: usize,
    /// How many of them may come from one source, so that others find room.
    /// Many nodes behind one address take turns, each for a few round trips.
    pub handshakes_per_source_max: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connections_per_node: 8,
            idle_extra_after: Duration::from_secs(60),
            ping_after: Duration::from_secs(8),
            ping_timeout: Duration::from_secs(6),
            progress_timeout: Duration::from_secs(15),
            queue_timeout: Duration::from_secs(60),
            hello_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(5),
            redial_grace: Duration::from_secs(5),
            handshakes_max: 512,
            handshakes_per_source_max: 64,
        }
    }
}

/// The node's share of [`Tuning`]: it hangs up when nothing came for so long,
/// which a living door's pings never let happen.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a node waits for TCP, TLS and the door's answer. More than
/// [`Tuning::hello_timeout`], which begins when the door accepts.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a node waits for TCP with one of a door's addresses.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Plaintext and ciphertext that rustls may hold per connection, and the read
/// buffers below and above it.
pub const BUFFER_BYTES: usize = 256 << 10;
