//! Which sealed bytes hold which plaintext: the arithmetic of blocks.

use std::ops::Range;

use crate::types::limits::{BLOCK_BYTES, SEALED_BLOCK_BYTES, TAG_BYTES};

/// Bytes of a sealed stream whose plaintext has `plain_bytes` bytes (at most
/// `limits::OBJECT_BYTES_MAX`).
pub fn sealed_length(plain_bytes: u64) -> u64 {
    StreamShape::new(plain_bytes).sealed_bytes()
}

/// The shape of a stream that follows from its plaintext's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamShape {
    plain_bytes: u64,
}

impl StreamShape {
    /// The shape of a stream with so many bytes of plaintext.
    pub fn new(plain_bytes: u64) -> Self {
        Self { plain_bytes }
    }

    /// Number of blocks; zero for an empty stream.
    pub fn blocks(self) -> u64 {
        self.plain_bytes.div_ceil(BLOCK_BYTES as u64)
    }

    /// Bytes of the stream once it is sealed.
    pub fn sealed_bytes(self) -> u64 {
        self.plain_bytes + self.blocks() * TAG_BYTES as u64
    }

    /// Whether this is the stream's last block.
    pub fn is_last(self, index: u64) -> bool {
        index + 1 == self.blocks()
    }

    /// Indexes of the blocks that hold a range of plaintext. What lies beyond
    /// the stream's end is left out.
    pub fn blocks_for(self, plain: Range<u64>) -> Range<u64> {
        let end = plain.end.min(self.plain_bytes);
        if plain.start >= end {
            return 0..0;
        }
        plain.start / BLOCK_BYTES as u64..end.div_ceil(BLOCK_BYTES as u64)
    }

    /// Where in the plaintext these blocks lie.
    pub fn plain_range(self, blocks: Range<u64>) -> Range<u64> {
        let at = |index: u64| (index * BLOCK_BYTES as u64).min(self.plain_bytes);
        at(blocks.start)..at(blocks.end)
    }

    /// Where in the sealed stream these blocks lie.
    pub fn sealed_range(self, blocks: Range<u64>) -> Range<u64> {
        let at = |index: u64| (index * SEALED_BLOCK_BYTES as u64).min(self.sealed_bytes());
        at(blocks.start)..at(blocks.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_the_edges_of_blocks() {
        for (plain, sealed) in [(0, 0), (1, 17), (65_536, 65_552), (65_537, 65_569), (131_072, 131_104)] {
            assert_eq!(sealed_length(plain), sealed);
        }
        assert_eq!(sealed_length(crate::types::limits::OBJECT_BYTES_MAX) % 65_552, 0);
    }

    #[test]
    fn blocks_hold_the_range_that_was_asked_for() {
        let shape = StreamShape::new(150_000);
        for (plain, blocks) in [
            (0..1, 0..1),
            (0..65_536, 0..1),
            (65_535..65_537, 0..2),
            (65_536..131_072, 1..2),
            (140_000..150_000, 2..3),
            (140_000..u64::MAX, 2..3),
            (150_000..150_001, 0..0),
            (9..9, 0..0),
        ] {
            assert_eq!(shape.blocks_for(plain.clone()), blocks, "{plain:?}");
        }
        assert_eq!(StreamShape::new(0).blocks_for(0..1), 0..0);
    }

    #[test]
    fn ranges_of_blocks_end_with_the_stream() {
        let shape = StreamShape::new(150_000);
        assert_eq!(shape.plain_range(1..3), 65_536..150_000);
        assert_eq!(shape.sealed_range(1..3), 65_552..150_048);
        assert_eq!(shape.sealed_range(0..2), 0..131_104);
        assert_eq!((0..4).map(|index| shape.is_last(index)).collect::<Vec<_>>(), [false, false, true, false]);
        assert!(!StreamShape::new(0).is_last(0));
    }
}
