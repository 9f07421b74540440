//! What a node is told to compare its pieces with: decoded strictly, survives
//! being written, and contains whatever is put into it.

#![no_main]

use cairn::types::{Epoch, PieceId};
use cairn::wire::{InventoryEntry, Known, PieceFilter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(known) = Known::decode(input) {
        assert_eq!(Known::decode(&known.encode()).ok().as_ref(), Some(&known));
        let entry = InventoryEntry { id: PieceId::from_bytes([7; 16]), epoch: Epoch(1), length: 1, trashed: false };
        let _ = known.contradicts(&entry, Epoch(2));
    }
    let Ok(mut filter) = PieceFilter::decode(input) else { return };
    assert_eq!(filter.encode(), input);
    for id in input.as_chunks::<{ PieceId::BYTES }>().0 {
        let id = PieceId::from_bytes(*id);
        filter.insert(&id);
        assert!(filter.contains(&id));
    }
});
