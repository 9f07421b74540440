//! Counters that order events where a clock could not be trusted to.

use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// When an upload began, as issued by the database. Reclaim condemns only
    /// pieces older than the oldest epoch that anyone still writes in.
    Epoch, u64
}
counter! {
    /// Rises at every recovery or move of the database; nodes refuse doors
    /// that show an older one than they have seen.
    Generation, u64
}
counter! {
    /// How often a piece was placed anew. Never used twice for one piece of a
    /// segment, so a late delete cannot hit a piece that came back.
    Incarnation, u32
}
counter! {
    /// Rises with every change of a segment's piece list; a change names the
    /// revision that it was computed from.
    Revision, u64
}
counter! {
    /// Which key-encryption key wrapped a content key.
    KeyVersion, u32
}
counter! {
    /// Which of a segment's `n` pieces: the first `k` are the ciphertext itself.
    PieceNumber, u16
}
