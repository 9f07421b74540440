//! The layout in a segment row, schemes and checksums as text.

#![no_main]

use cairn::digest::{Algorithm, Checksum};
use cairn::erasure::Scheme;
use cairn::segment::Layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(layout) = Layout::from_bytes(input) {
        assert_eq!(layout.to_bytes().as_slice(), input);
        let all = layout.pieces_for(0..layout.length());
        assert!(all.iter().all(|piece| piece.stripes.end <= layout.stripes()));
    }
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(scheme) = text.parse::<Scheme>() {
        assert_eq!(scheme.to_string().parse::<Scheme>().ok(), Some(scheme));
    }
    for algorithm in Algorithm::ALL {
        if let Ok(checksum) = Checksum::from_base64(algorithm, text) {
            assert_eq!(checksum.to_base64(), text);
        }
    }
});
