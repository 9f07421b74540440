//! Secrets of 32 bytes: wiped when dropped, never printed.

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The secret with these bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}
pub(super) use secret;

secret! {
    /// What one stream's blocks are sealed with: 32 random bytes that never
    /// seal a second stream. It leaves this room wrapped only.
    ContentKey
}
secret! {
    /// What every access grant's signature begins from.
    GrantRoot
}
secret! {
    /// What the shipped copies of the database are sealed under.
    SnapshotKey
}

impl ContentKey {
    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl GrantRoot {
    /// The bytes, for the first link of a grant's signatures.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl SnapshotKey {
    /// The bytes, for sealing a snapshot.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", ContentKey::from_bytes([0x41; 32])), "ContentKey(secret)");
    }
}
