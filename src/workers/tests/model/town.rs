//! The model's state, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use tempfile::TempDir;

use super::super::super::reclaim::round::{Round, Subject};
use crate::metadata::suite::Elapse;
use crate::metadata::*;
use crate::seal::{ClusterSecret, PieceIdKey};
use crate::types::{BucketName, Epoch, NodeId, ObjectKey, PieceId, SegmentId, UnixMillis, UploadId, WriteCondition};

pub(super) const NODES: u32 = 4;
pub(super) const KEYS: u32 = 4;
/// A time after which trash may be purged.
pub(super) const WEEK_MS: u64 = 7 * 24 * 3600 * 1000;

/// What is different from what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Kept,
    /// The epoch is taken when all segments were seen.
    ScanFirst,
    /// Commits do not show the lease that they were written under.
    NoLease,
    /// Now and then a comparison overlooks pages; the next one does not.
    Overlooks,
}

/// What a node has: each piece with its epoch and whether it is in the trash.
pub(super) type Disk = BTreeMap<PieceId, (Epoch, bool)>;

/// A node and, now and then, an old image of its disk.
pub(super) struct Volunteer {
    pub(super) id: NodeId,
    pub(super) disk: Disk,
    pub(super) image: Option<Disk>,
}

/// An upload: to an object, or to a part.
pub(super) struct Upload {
    pub(super) epoch: Epoch,
    pub(super) segments: Vec<NewSegment>,
    /// Pieces that are still to be sent.
    pub(super) to_send: Vec<(SegmentId, PiecePlace)>,
    pub(super) part_of: Option<(ObjectKey, UploadId)>,
}

/// A repair that has placed a piece, or a merge that has stored a segment.
pub(super) enum Change {
    Repair(ReplacePieces),
    Merge(MoveStreams),
}

/// A process that writes.
pub(super) struct Gateway {
    pub(super) holder: Holder,
    pub(super) epoch: Epoch,
    pub(super) uploads: Vec<Upload>,
    pub(super) changes: Vec<Change>,
}

/// A walk over all segments with its comparison.
pub(super) struct Walk {
    pub(super) round: Option<Round>,
    pub(super) after: Option<SegmentId>,
    pub(super) is_over: bool,
    /// What was seen before the epoch was taken, where that rule is broken.
    pub(super) seen: Vec<SegmentRow>,
    pub(super) overlooks: bool,
}

/// An order to a node that is on its way, perhaps for a second time.
#[derive(Clone)]
pub(super) enum Order {
    Put(u32, PieceId, Epoch),
    Trash(u32, Vec<PieceId>),
    Restore(u32, Vec<PieceId>),
    Purge(u32, Vec<PieceId>),
}

pub(super) struct Town {
    pub(super) rule: Rule,
    pub(super) metadata: Metadata,
    pub(super) dice: SmallRng,
    pub(super) ids: Arc<PieceIdKey>,
    pub(super) bucket: BucketName,
    pub(super) nodes: Vec<Volunteer>,
    pub(super) gateways: Vec<Gateway>,
    pub(super) parts: Vec<(ObjectKey, UploadId)>,
    pub(super) walk: Option<Walk>,
    pub(super) late: Vec<Order>,
    /// Pieces that a node has lost by being set back.
    pub(super) lost: BTreeSet<PieceId>,
    /// Comparisons in this life.
    pub(super) rounds: u32,
    /// Whether the last comparison overlooked nothing.
    pub(super) may_overlook: bool,
    /// Pieces that were restored in this life.
    pub(super) restored: usize,
    _folder: TempDir,
}

/// Reads everything at once.
struct Look;

/// Segments, and what is condemned: by place, and by id on each node.
type View = (Vec<SegmentRow>, Vec<CondemnedPiece>, Vec<(u32, PieceId)>);

impl Operation for Look {
    type Output = View;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<View, MetadataError> {
        let segments = ScanSegments { after: None, limit: 10_000 }.run(tx).await?;
        let (mut condemned, mut strays) = (Vec::new(), Vec::new());
        for node in 1..=NODES {
            condemned.extend(CondemnedOf { node, after: None, limit: 10_000 }.run(tx).await?);
            let found = StraysOf { node, after: None, limit: 10_000 }.run(tx).await?;
            strays.extend(found.into_iter().map(|(id, _)| (node, id)));
        }
        Ok((segments, condemned, strays))
    }
}

impl Town {
    pub(super) async fn new(rule: Rule) -> Self {
        // In memory where that is possible: nothing here is about the disk.
        let shared = std::path::Path::new("/dev/shm");
        let folder = if shared.is_dir() { TempDir::new_in(shared) } else { TempDir::new() }.unwrap();
        let options = SqliteOptions { path: folder.path().join("model.db"), cache_kib: 1024, readers: 1 };
        let metadata = Metadata::open_sqlite(options).unwrap();
        let bucket = BucketName::new("model").unwrap();
        metadata.write(CreateBucket { name: bucket.clone(), now: UnixMillis(1) }).await.unwrap();
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            let id = NodeId::from_bytes([number as u8; 32]);
            metadata.write(PlaceNode { node: id, place: number.to_string(), instead_of: None }).await.unwrap();
            nodes.push(Volunteer { id, disk: Disk::new(), image: None });
        }
        Self {
            rule,
            metadata,
            dice: SmallRng::seed_from_u64(0),
            ids: Arc::new(ClusterSecret::from_bytes([7; 32]).piece_id_key()),
            bucket,
            nodes,
            gateways: Vec::new(),
            parts: Vec::new(),
            walk: None,
            late: Vec::new(),
            lost: BTreeSet::new(),
            rounds: 0,
            may_overlook: true,
            restored: 0,
            _folder: folder,
        }
    }

    pub(super) async fn close(&self) {
        self.metadata.close().await;
    }

    pub(super) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.dice.fill_bytes(&mut bytes);
        bytes
    }

    pub(super) fn key(&mut self) -> ObjectKey {
        ObjectKey::new(format!("key-{}", self.dice.random_range(0..KEYS))).unwrap()
    }

    pub(super) fn some_part(&mut self) -> Option<(ObjectKey, UploadId)> {
        self.parts.choose(&mut self.dice).cloned()
    }

    pub(super) fn disk(&mut self, node: u32) -> &mut Disk {
        &mut self.nodes[node as usize - 1].disk
    }

    pub(super) fn piece_id(&self, segment: SegmentId, place: &PiecePlace) -> PieceId {
        let node = self.nodes[place.node as usize - 1].id;
        self.ids.piece_id(segment, place.piece, node, place.incarnation)
    }

    pub(super) fn subjects(&self) -> Vec<Subject> {
        let subject = |(at, node): (usize, &Volunteer)| Subject {
            number: at as u32 + 1,
            node: node.id,
            pieces: node.disk.len() as u64,
        };
        self.nodes.iter().enumerate().map(subject).collect()
    }

    /// A random life from nothing to nothing.
    pub(super) async fn live(&mut self, seed: u64, steps: usize) -> Result<(), String> {
        self.dice = SmallRng::seed_from_u64(seed);
        (self.rounds, self.restored, self.may_overlook) = (0, 0, true);
        self.lost.clear();
        for _ in 0..2 {
            self.start_gateway().await;
        }
        for at in 0..steps {
            let what = self.step().await;
            self.check().await.map_err(|violation| format!("step {at}, {what}: {violation}"))?;
        }
        self.settle().await?;
        self.clear().await
    }

    /// Nothing that a list names is condemned or missing.
    async fn check(&self) -> Result<(), String> {
        let (segments, condemned, strays) = self.metadata.read(Look).await.unwrap();
        let strays: BTreeSet<(u32, PieceId)> = strays.into_iter().collect();
        let overlooks = self.rule == Rule::Overlooks;
        for row in &segments {
            for place in &row.pieces {
                let id = self.piece_id(row.segment, place);
                let named = CondemnedPiece { segment: row.segment, place: *place };
                if (strays.contains(&(place.node, id)) && !overlooks) || condemned.contains(&named) {
                    return Err(format!(
                        "{id} on node {} is condemned, and segment {} needs it",
                        place.node, row.segment
                    ));
                }
                let disk = &self.nodes[place.node as usize - 1].disk;
                if !disk.contains_key(&id) && !self.lost.contains(&id) {
                    return Err(format!("{id} is not on node {} any more", place.node));
                }
            }
        }
        Ok(())
    }

    /// Everybody ends what they do; a few comparisons later nothing that a list
    /// names is in the trash.
    async fn settle(&mut self) -> Result<(), String> {
        self.rounds = 100;
        self.finish_walk().await;
        for _ in 0..6 {
            self.whole_walk().await;
            self.check().await?;
        }
        let (segments, _, strays) = self.metadata.read(Look).await.unwrap();
        let strays: BTreeSet<(u32, PieceId)> = strays.into_iter().collect();
        for row in &segments {
            for place in &row.pieces {
                let id = self.piece_id(row.segment, place);
                let in_trash = self.disk(place.node).get(&id).is_some_and(|(_, trashed)| *trashed);
                if in_trash || strays.contains(&(place.node, id)) {
                    return Err(format!("{id} is named by segment {} and stays in the trash", row.segment));
                }
            }
        }
        Ok(())
    }

    /// Everything is deleted, and everybody dies: weeks later no node has
    /// anything and nothing is condemned.
    async fn clear(&mut self) -> Result<(), String> {
        let keys = (0..KEYS).map(|number| ObjectKey::new(format!("key-{number}")).unwrap());
        let objects = keys.map(|key| (key, WriteCondition::default())).collect();
        self.metadata.write(DeleteObjects { bucket: self.bucket.clone(), objects }).await.unwrap().unwrap();
        for (key, upload) in std::mem::take(&mut self.parts) {
            let upload = FindUpload { bucket: self.bucket.clone(), key, upload };
            let _ = self.metadata.write(AbortUpload { upload }).await.unwrap();
        }
        self.gateways.clear();
        self.late.clear();
        self.nodes.iter_mut().for_each(|node| node.image = None);
        for _ in 0..20 {
            self.metadata.write(Elapse(WEEK_MS as i64 + 60_000)).await.unwrap();
            // What was left while the clock was ahead is garbage when it gets there.
            while self.metadata.write(ReleaseGarbage { older_than_ms: 0, extents: 100 }).await.unwrap() {}
            self.whole_walk().await;
            for node in 1..=NODES {
                self.delete(node, false).await;
            }
            let (segments, condemned, strays) = self.metadata.read(Look).await.unwrap();
            let nothing_is_left = segments.is_empty() && condemned.is_empty() && strays.is_empty();
            if nothing_is_left && self.nodes.iter().all(|node| node.disk.is_empty()) {
                return Ok(());
            }
        }
        let left: Vec<_> = self.nodes.iter().map(|node| node.disk.len()).collect();
        Err(format!("dead pieces stay for ever: {left:?}"))
    }
}
