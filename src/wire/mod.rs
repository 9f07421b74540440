//! What gateway and node say to each other: encode and decode, nothing else.
//!
//! A node dials a door over TLS 1.3. Then, on every connection:
//!
//! 1. the node sends one frame with its [`Hello`];
//! 2. the door sends one frame with its [`Answer`]: a [`Welcome`], or a
//!    [`Refusal`] after which it closes;
//! 3. the roles turn: the door sends HTTP/1.1 requests ([`Request`]) and the
//!    node answers them, one at a time, until either side closes.
//!
//! The frame's format stands in its first bytes, the wire's version is agreed
//! in the hello and stands in every request's path. All decoders take whole
//! buffers, are bounded by `types::limits`, and allocate no more than a small
//! multiple of what they are given.

mod filter;
mod frame;
mod hello;
mod reply;
mod request;
mod standing;
mod text;
mod token;
mod welcome;

pub use filter::{Known, PieceFilter};
pub use frame::{FRAME_HEADER_BYTES, encode_frame, frame_length};
#[cfg(test)]
pub(crate) use hello::example as example_hello;
pub use hello::{Hello, Purpose};
pub use reply::{Changed, ErrorBody, ErrorKind, InventoryEntry, Usage, decode_inventory, encode_inventory};
pub use request::{
    DIAL_HEADER, EPOCH_HEADER, Fields, ListAction, POSITION_HEADER, Request, decode_dial, decode_ids, encode_ids,
};
pub use standing::{Standing, StandingKind};
pub use token::{Credential, JoinToken, TokenError};
pub use welcome::{Answer, Refusal, RefusalKind, Welcome, generation_statement};

/// The wire's version that this program speaks.
pub const VERSION: u16 = 1;

/// Why bytes from the other side were not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first bytes are not a frame of this protocol.
    #[error("the other side does not speak this protocol")]
    NotCairn,
    /// More than the limit; names what.
    #[error("{what} is too large: {size} where at most {max} are possible")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size, in bytes or entries.
        size: usize,
        /// The limit in the same unit.
        max: usize,
    },
    /// It breaks the format; says how.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// What was being decoded.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A request for a path or method that this version does not have.
    #[error("there is no {0} in this version of the wire")]
    Unknown(String),
    /// No version of the wire in common.
    #[error(
        "the other side speaks versions {theirs:?} of the wire, and this side only {VERSION}: update the older one"
    )]
    Versions {
        /// What the other side offered.
        theirs: Vec<u16>,
    },
}

impl WireError {
    fn malformed(what: &'static str, reason: impl ToString) -> Self {
        // What the other side sent may be repeated in it, and it ends up in logs.
        let reason = reason.to_string().replace(char::is_control, " ");
        Self::Malformed { what, reason }
    }

    fn limit(what: &'static str, size: usize, max: usize) -> Result<(), Self> {
        if size > max { Err(Self::TooLarge { what, size, max }) } else { Ok(()) }
    }
}
