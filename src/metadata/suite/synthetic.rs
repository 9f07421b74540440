//! A synthetic database of the suite: it adds up as a used one does, can be
//! read, and leaves nothing behind when all of it is deleted.

use std::collections::BTreeSet;

use super::engines::fresh;
use super::server::Server;
use super::{Audit, placed};
use crate::metadata::*;
use crate::segment::Layout;
use crate::types::{BucketName, ObjectKey, WriteCondition};

const NODES: u32 = 500;

fn bucket() -> BucketName {
    BucketName::new("synthetic").unwrap()
}

/// Ten thousand objects, in two steps.
async fn fill(place: &SyntheticPlace) -> (Synthetic, Metadata) {
    load_synthetic(place, 7, NODES, &bucket(), 0..1000).await.unwrap();
    let made = load_synthetic(place, 7, NODES, &bucket(), 1000..10_000).await.unwrap();
    (made, place.open(1024).await.unwrap())
}

async fn page(metadata: &Metadata) -> ListedPage {
    let list = ListObjects { bucket: bucket(), prefix: Vec::new(), delimiter: None, after: None, limit: 1000 };
    metadata.read(list).await.unwrap().unwrap()
}

async fn condemned(metadata: &Metadata) -> Vec<CondemnedPiece> {
    let mut pieces = Vec::new();
    for node in 1..=NODES {
        pieces.extend(metadata.read(PiecesToTrash { node, limit: 100_000 }).await.unwrap());
        // Less than no time ago.
        let purge = PiecesToPurge { node, older_than_ms: 0u64.wrapping_sub(60_000), limit: 100_000 };
        pieces.extend(metadata.read(purge).await.unwrap());
    }
    pieces
}

/// All pieces that are listed or condemned, on nodes that are there.
async fn pieces(metadata: &Metadata) -> BTreeSet<super::Placed> {
    let segments = metadata.read(ScanSegments { after: None, limit: 100_000 }).await.unwrap();
    let nodes: BTreeSet<u32> = metadata.read(ListNodes).await.unwrap().iter().map(|row| row.number).collect();
    let mut known = BTreeSet::new();
    for row in &segments {
        let layout = Layout::from_bytes(&row.layout).unwrap();
        assert_eq!(row.pieces.len(), usize::from(layout.coding().total()));
        let distinct: BTreeSet<u32> = row.pieces.iter().map(|place| place.node).collect();
        assert!(distinct.len() == row.pieces.len() && distinct.is_subset(&nodes), "{:?}", row.pieces);
        known.extend(row.pieces.iter().map(|place| placed(row.segment, place)));
    }
    known.extend(condemned(metadata).await.iter().map(|piece| placed(piece.segment, &piece.place)));
    known
}

async fn adds_up(metadata: &Metadata, empty: bool) {
    let audit = Audit { settled: pieces(metadata).await, unsettled: BTreeSet::new(), empty };
    metadata.read(audit).await.unwrap();
}

async fn holds(place: SyntheticPlace) {
    let (made, metadata) = fill(&place).await;
    adds_up(&metadata, false).await;
    for object in (0..10_000).step_by(37) {
        let find = FindObject { bucket: bucket(), key: made.key(object), with_source: true };
        let found = metadata.read(find).await.unwrap().unwrap();
        match found.source {
            Source::Inline(inline) => assert_eq!(inline.sealed.len() as u64, found.current.size_bytes + 16),
            Source::Body { stream: Some((stream, segments)), .. } => {
                assert!(stream.size_bytes == found.current.size_bytes && !segments.is_empty());
            }
            source => panic!("{source:?}"),
        }
    }
    let mut deleted = 0;
    loop {
        let rows = page(&metadata).await.rows;
        if rows.is_empty() {
            break;
        }
        deleted += rows.len();
        let objects =
            rows.into_iter().map(|row| (ObjectKey::new(row.key).unwrap(), WriteCondition::default())).collect();
        let outcomes = metadata.write(DeleteObjects { bucket: bucket(), objects }).await.unwrap().unwrap();
        assert!(outcomes.iter().all(Result::is_ok));
    }
    assert_eq!(deleted, 10_000);
    while metadata.write(ReleaseGarbage { older_than_ms: 0, extents: 5000 }).await.unwrap() {}
    adds_up(&metadata, true).await;
    metadata.close().await;
}

#[tokio::test]
async fn a_synthetic_database_adds_up_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    holds(SyntheticPlace::Sqlite(folder.path().join("synthetic.db"))).await;
}

#[tokio::test]
async fn a_synthetic_database_adds_up_on_postgres() {
    let url = Server::shared().url(&fresh().await);
    holds(SyntheticPlace::Postgres(Box::new(PostgresAddress::parse(&url).unwrap()))).await;
}
