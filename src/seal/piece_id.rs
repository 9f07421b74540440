//! What nodes know pieces by.

use aws_lc_rs::hmac;

use crate::types::{Incarnation, NodeId, PieceId, PieceNumber, SegmentId};

/// Derives piece ids. Without it nobody can tell which pieces belong together.
///
/// A piece id is the first 16 bytes of HMAC-SHA-256 over
///
/// | bytes | value |
/// |---|---|
/// | 1 | format: 1 |
/// | 16 | segment id |
/// | 2 | piece number, big endian |
/// | 32 | node id |
/// | 4 | incarnation, big endian |
pub struct PieceIdKey(hmac::Key);

impl PieceIdKey {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The id of a piece of a segment, on one node, in one incarnation.
    pub fn piece_id(&self, segment: SegmentId, piece: PieceNumber, node: NodeId, incarnation: Incarnation) -> PieceId {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[super::FORMAT]);
        context.update(segment.as_bytes());
        context.update(&piece.0.to_be_bytes());
        context.update(node.as_bytes());
        context.update(&incarnation.0.to_be_bytes());
        let tag = context.sign();
        let first = tag.as_ref().first_chunk().expect("HMAC-SHA-256 gives 32 bytes");
        PieceId::from_bytes(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ClusterSecret;
    use super::*;

    #[test]
    fn whatever_differs_makes_another_id() {
        let id = |secret, segment, piece, node, incarnation| {
            ClusterSecret::from_bytes([secret; 32]).piece_id_key().piece_id(
                SegmentId::from_bytes([segment; 16]),
                PieceNumber(piece),
                NodeId::from_bytes([node; 32]),
                Incarnation(incarnation),
            )
        };
        let first = id(1, 1, 1, 1, 1);
        assert_eq!(id(1, 1, 1, 1, 1), first);
        for other in [id(2, 1, 1, 1, 1), id(1, 2, 1, 1, 1), id(1, 1, 2, 1, 1), id(1, 1, 1, 2, 1), id(1, 1, 1, 1, 2)] {
            assert_ne!(other, first);
        }
    }
}
