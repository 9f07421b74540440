//! What lies on a node's disk: the pieces in its logs, to be spoiled; and which
//! pieces the metadata database lists.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use cairn::metadata::{ListNodes, Metadata, ScanSegments, SqliteOptions};
use cairn::node::store::record::{HEADER_BYTES, Header, Kind, Place, body_checksum, decode};
use cairn::seal::ClusterSecret;
use cairn::types::PieceId;

use crate::support::community::Gateway;

/// Bytes of a full share with its MAC; a piece of fewer is one share.
pub const SHARE_BYTES: u64 = 65_552 + 16;

/// A piece in a log.
pub struct Found {
    path: PathBuf,
    place: Place,
    header: Header,
}

impl Found {
    pub fn id(&self) -> PieceId {
        self.header.id
    }

    /// Bytes of its body: shares, each with its MAC.
    pub fn length(&self) -> u64 {
        self.header.length.into()
    }

    /// How many shares it has.
    pub fn shares(&self) -> u64 {
        self.length().div_ceil(SHARE_BYTES)
    }

    fn open(&self) -> File {
        File::options().read(true).write(true).open(&self.path).expect("it was just read")
    }

    fn begin(&self) -> u64 {
        self.place.offset + HEADER_BYTES as u64
    }

    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![0; self.header.length as usize];
        self.open().read_exact_at(&mut body, self.begin()).expect("the record is whole");
        body
    }

    /// What a disk does that rots: one bit of a share is another.
    pub fn flip(&self, share: u64) {
        let (file, at) = (self.open(), self.begin() + share * SHARE_BYTES + 7);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("the share is there");
        file.write_all_at(&[byte[0] ^ 4], at).expect("the file is ours");
    }

    /// What a liar does: other bytes, of the same length, which its own store
    /// takes for what was put there.
    pub fn replace(&self, body: &[u8]) {
        assert_eq!(body.len() as u64, self.length(), "a record keeps its length");
        let header = Header { body_checksum: body_checksum(body), ..self.header };
        let file = self.open();
        file.write_all_at(&header.encode(self.place), self.place.offset).expect("the file is ours");
        file.write_all_at(body, self.begin()).expect("the file is ours");
    }
}

/// The pieces that the database lists: of which segment, and which of it. Others
/// lie on disks for a while: of uploads that took another node instead, and of
/// segments that were merged.
pub fn listed(gateway: &Gateway) -> BTreeMap<PieceId, (String, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(read_list(&gateway.data()))
}

async fn read_list(data: &Path) -> BTreeMap<PieceId, (String, u64)> {
    let secret = std::fs::read(data.join("cluster.key")).expect("a gateway's folder has the cluster's secret");
    let key = ClusterSecret::from_bytes(secret.try_into().expect("it has 32 bytes")).piece_id_key();
    let options = SqliteOptions { path: data.join("metadata.db"), cache_kib: 1024, readers: 1 };
    let metadata = Metadata::open_sqlite(options).expect("a gateway's folder has the database");
    let nodes = metadata.read(ListNodes).await.expect("the nodes");
    let nodes: BTreeMap<_, _> = nodes.into_iter().map(|row| (row.number, row.node)).collect();
    let rows = metadata.read(ScanSegments { after: None, limit: 10_000 }).await.expect("the segments");
    assert!(rows.len() < 10_000, "there are more");
    metadata.close().await;
    let places = rows.iter().flat_map(|row| row.pieces.iter().map(|place| (row.segment, *place)));
    let named = places.map(|(segment, place)| {
        let id = key.piece_id(segment, place.piece, nodes[&place.node], place.incarnation);
        (id, (segment.to_string(), u64::from(place.piece.0)))
    });
    named.collect()
}

/// All pieces in the logs of a node's folder, in the order in which they came.
pub fn pieces(dir: &Path) -> Vec<Found> {
    let mut logs: Vec<PathBuf> =
        std::fs::read_dir(dir.join("logs")).expect("a node has logs").flatten().map(|entry| entry.path()).collect();
    logs.sort();
    logs.iter().flat_map(|path| pieces_of(path)).collect()
}

fn pieces_of(path: &Path) -> Vec<Found> {
    let stem = path.file_stem().expect("a log has a name").to_string_lossy();
    let number = u32::from_str_radix(&stem, 16).expect("a log's name is its number");
    let bytes = std::fs::read(path).expect("the log can be read");
    let (mut found, mut offset) = (Vec::new(), 0);
    // A record that the node is just writing may be cut off.
    let at = |offset: usize| decode(bytes.get(offset..)?, Place { log: number, offset: offset as u64 }).ok();
    while let Some(header) = at(offset).filter(|header| offset + header.record_bytes() as usize <= bytes.len()) {
        if header.kind == Kind::Piece {
            let place = Place { log: number, offset: offset as u64 };
            found.push(Found { path: path.to_owned(), place, header });
        }
        offset += header.record_bytes() as usize;
    }
    found
}
