//! What every engine must hold, whatever is asked of it: references and
//! garbage add up over the whole database after every step. Nothing that is
//! alive is condemned, nothing that is dead stays behind, while repairs move
//! pieces, overtake each other and crash.

mod audits;
mod copies;
mod engines;
mod lists;
mod moves;
mod outages;
mod plans;
mod reclaim;
mod refusals;
#[path = "../../tests/support/postgres.rs"]
pub(super) mod server;
mod shared;
mod statements;
mod synthetic;
mod tls;
mod together;
mod volunteers;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};

use super::bodies::{decode_spans, streams_of};
use super::segments::decode_pieces;
use super::streams::decode_extents;
use super::tx::params;
use super::*;
use crate::types::{
    BodyId, BucketName, ETagMatch, Epoch, Incarnation, KeyVersion, NodeId, ObjectHeaders, ObjectKey, PieceNumber,
    Revision, SegmentId, StreamId, UnixMillis, UploadId, WriteCondition,
};

/// A new database on a PostgreSQL, for tests of other rooms.
pub(crate) struct Shared(String);

impl Shared {
    pub(crate) async fn new() -> Self {
        Self(engines::fresh().await)
    }

    /// One process's way to it.
    pub(crate) async fn open(&self) -> Metadata {
        engines::open(server::Server::shared(), &self.0).await
    }
}

/// Changes a segment's MAC key, as a damaged page of the database would.
pub(crate) struct SpoilMacKey {
    pub(crate) segment: SegmentId,
}

impl Operation for SpoilMacKey {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "UPDATE segments SET mac_key = ?2 WHERE segment_id = ?1";
        tx.execute(sql, params![self.segment.as_bytes(), &[9; 32]]).await.map(drop)
    }
}

/// As if the database's clock had gone on by so much (or back): all times that
/// it has noted are as much earlier.
pub(crate) struct Elapse(pub(crate) i64);

impl Operation for Elapse {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        for sql in [
            "UPDATE leases SET expires_ms = expires_ms - ?1",
            "UPDATE garbage SET left_ms = left_ms - ?1",
            "UPDATE condemned SET trashed_ms = trashed_ms - ?1",
            "UPDATE strays SET trashed_ms = trashed_ms - ?1",
            "UPDATE nodes SET reclaimed_ms = reclaimed_ms - ?1",
            "UPDATE audit_followups SET due_ms = due_ms - ?1",
        ] {
            tx.execute(sql, params![self.0]).await?;
        }
        Ok(())
    }
}

/// Puts a segment in that no stream lies in, as a fault in the program would.
pub(crate) struct Orphan(pub(crate) NewSegment);

impl Operation for Orphan {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        super::segments::insert(tx, std::slice::from_ref(&self.0), &[]).await
    }
}

const PIECES: u16 = 3;
/// Nodes that take the model's pieces.
const NODES: u8 = 6;

/// A piece that was placed: segment, number, node, incarnation.
type Placed = (SegmentId, u16, u32, u32);

fn placed(segment: SegmentId, place: &PiecePlace) -> Placed {
    (segment, place.piece.0, place.node, place.incarnation.0)
}

/// Counts everything anew and compares.
struct Audit {
    /// Every piece that was ever placed and whose repair has ended.
    settled: BTreeSet<Placed>,
    /// Pieces of repairs that go on, and of such as have crashed.
    unsettled: BTreeSet<Placed>,
    /// Nothing may be left but condemned pieces.
    empty: bool,
}

impl Operation for Audit {
    type Output = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        self.check_bodies(tx).await?;
        self.check_streams(tx).await?;
        self.check_pieces(tx).await?;
        if self.empty {
            let sql = "SELECT (SELECT COUNT(*) FROM bodies) + (SELECT COUNT(*) FROM streams) \
                       + (SELECT COUNT(*) FROM segments) + (SELECT COUNT(*) FROM parts) + (SELECT COUNT(*) FROM garbage)";
            assert_eq!(tx.query(sql, &[]).await?[0].int(0)?, 0, "something was left behind");
        }
        Ok(())
    }
}

impl Audit {
    async fn check_bodies(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let sql = "SELECT refs, COUNT(objects.key) FROM bodies LEFT JOIN objects ON objects.body_id = bodies.body_id \
                   GROUP BY bodies.body_id, refs";
        for row in tx.query(sql, &[]).await? {
            assert!(row.int(0)? > 0 && row.int(0)? == row.int(1)?, "a body's references: {row:?}");
        }
        let sql =
            "SELECT COUNT(*) FROM objects WHERE body_id IS NOT NULL AND body_id NOT IN (SELECT body_id FROM bodies)";
        assert_eq!(tx.query(sql, &[]).await?[0].int(0)?, 0, "an object's body is gone");
        Ok(())
    }

    async fn check_streams(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let mut refs: BTreeMap<StreamId, i64> = BTreeMap::new();
        let sql = "SELECT spans FROM bodies UNION ALL SELECT spans FROM parts UNION ALL SELECT spans FROM garbage";
        for row in tx.query(sql, &[]).await? {
            for (stream, count) in streams_of(&decode_spans(row.bytes(0)?)?) {
                *refs.entry(stream).or_default() += count as i64;
            }
        }
        let mut uses: BTreeMap<SegmentId, (i64, i64)> = BTreeMap::new();
        for row in tx.query("SELECT stream_id, refs, extents FROM streams", &[]).await? {
            let stream = StreamId::from_bytes(row.array(0)?);
            assert_eq!(refs.remove(&stream), Some(row.int(1)?), "references of stream {stream}");
            for extent in decode_extents(row.bytes(2)?)? {
                let (streams, bytes) = uses.entry(extent.segment).or_default();
                (*streams, *bytes) = (*streams + 1, *bytes + i64::from(extent.length));
            }
        }
        assert!(refs.is_empty(), "streams that are referred to are gone: {refs:?}");
        for row in tx.query("SELECT segment_id, streams, live_bytes FROM segments", &[]).await? {
            let segment = SegmentId::from_bytes(row.array(0)?);
            assert_eq!(uses.remove(&segment), Some((row.int(1)?, row.int(2)?)), "uses of segment {segment}");
        }
        assert!(uses.is_empty(), "segments that are used are gone: {uses:?}");
        Ok(())
    }

    /// Every piece that was placed is in its segment's list or condemned, and
    /// never both.
    async fn check_pieces(&self, tx: &mut Tx<'_>) -> Result<(), MetadataError> {
        let mut known: BTreeMap<Placed, &str> = BTreeMap::new();
        for row in tx.query("SELECT segment_id, pieces FROM segments", &[]).await? {
            let segment = SegmentId::from_bytes(row.array(0)?);
            for place in decode_pieces(row.bytes(1)?)? {
                assert_eq!(known.insert(placed(segment, &place), "listed"), None, "twice in a list: {place:?}");
            }
        }
        for row in tx.query("SELECT segment_id, piece, node_no, incarnation FROM condemned", &[]).await? {
            let piece = (SegmentId::from_bytes(row.array(0)?), row.u32(1)? as u16, row.u32(2)?, row.u32(3)?);
            assert_eq!(known.insert(piece, "condemned"), None, "condemned and in use: {piece:?}");
        }
        let leaked: Vec<_> = self.settled.iter().filter(|piece| !known.contains_key(piece)).collect();
        assert!(leaked.is_empty(), "neither in a list nor condemned: {leaked:?}");
        known.retain(|piece, _| !self.settled.contains(piece));
        assert!(known.is_empty(), "nobody placed these, or nobody has said so yet: {known:?}");
        assert!(self.settled.is_disjoint(&self.unsettled));
        Ok(())
    }
}

/// Random steps and what they made.
struct Model {
    metadata: Metadata,
    dice: SmallRng,
    lease: Lease,
    bucket: BucketName,
    settled: BTreeSet<Placed>,
    unsettled: BTreeSet<Placed>,
    repairs: Vec<moves::Repair>,
    claims: BTreeMap<SegmentId, Incarnation>,
    /// Those of other models, too, where they run together.
    uploads: Arc<Mutex<Vec<(ObjectKey, UploadId)>>>,
}

impl Model {
    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.dice.fill_bytes(&mut bytes);
        bytes
    }

    fn key(&mut self) -> ObjectKey {
        ObjectKey::new(format!("key-{}", self.dice.random_range(0..6))).unwrap()
    }

    fn segment(&mut self) -> NewSegment {
        let segment = SegmentId::from_bytes(self.random());
        let nodes = rand::seq::index::sample(&mut self.dice, NODES.into(), PIECES.into());
        let place = |(piece, node)| PiecePlace { piece: PieceNumber(piece), node, incarnation: Incarnation(1) };
        let pieces: Vec<_> = (0..).zip(nodes.iter().map(|node| node as u32 + 1)).map(place).collect();
        self.settled.extend(pieces.iter().map(|place| placed(segment, place)));
        NewSegment {
            segment,
            layout: vec![1],
            mac_key: self.random(),
            root: self.random(),
            epoch: Epoch(1),
            revision: Revision(1),
            live_bytes: 0,
            pieces,
        }
    }

    fn stream(&mut self, segments: &[SegmentId]) -> NewStream {
        let extent = |(at, segment): (usize, &SegmentId)| Extent {
            stream_offset: at as u64 * 100,
            segment: *segment,
            segment_offset: 0,
            length: 100,
        };
        NewStream {
            stream: StreamId::from_bytes(self.random()),
            size_bytes: 100 * segments.len() as u64,
            key_version: KeyVersion(1),
            wrapped_key: vec![0; 48],
            md5: self.random(),
            checksum: None,
            content: StreamContent::Extents(segments.iter().enumerate().map(extent).collect()),
        }
    }

    fn object(&mut self, key: ObjectKey, spans: Vec<Span>) -> NewObject {
        let unless = self.dice.random_ratio(1, 8).then_some(ETagMatch::Any);
        let body = NewBody { body: BodyId::from_bytes(self.random()), spans, parts: None };
        NewObject {
            bucket: self.bucket.clone(),
            key,
            condition: WriteCondition { if_match: None, if_none_match: unless },
            headers: ObjectHeaders::default(),
            size_bytes: body.spans.iter().map(|span| span.length).sum(),
            etag: "etag".into(),
            checksum: None,
            modified: UnixMillis(1),
            content: ObjectContent::Body(body),
        }
    }

    /// What was refused is condemned by whoever brought it.
    async fn settle(&mut self, outcome: Result<(), Refusal>, segments: &[NewSegment]) {
        if outcome.is_err() {
            let condemned = |segment: &NewSegment| {
                let id = segment.segment;
                segment.pieces.clone().into_iter().map(move |place| CondemnedPiece { segment: id, place })
            };
            let pieces = segments.iter().flat_map(condemned).collect();
            self.metadata.write(CondemnPieces { pieces }).await.unwrap();
        }
    }

    async fn put(&mut self) {
        let segments: Vec<NewSegment> = (0..self.dice.random_range(1..4)).map(|_| self.segment()).collect();
        let stream = self.stream(&segments.iter().map(|segment| segment.segment).collect::<Vec<_>>());
        let key = self.key();
        let object = self.object(key, vec![whole(&stream)]);
        let (streams, lease) = (vec![stream], Some(self.lease));
        let outcome = self.metadata.write(CommitObject { object, streams, segments: segments.clone(), lease }).await;
        self.settle(outcome.unwrap(), &segments).await;
    }

    /// Objects and parts in one segment; some of them are refused.
    async fn put_shared(&mut self) {
        let segment = self.segment();
        let mut members = Vec::new();
        for _ in 0..self.dice.random_range(1..5) {
            let (stream, key) = (self.stream(&[segment.segment]), self.key());
            members.push(match self.some_upload() {
                Some((key, upload)) if self.dice.random() => {
                    let part = self.part(key, upload, vec![whole(&stream)]);
                    let lease = None;
                    SharedMember::Part(CommitPart { part, stream: Some(stream), segments: Vec::new(), lease })
                }
                _ => SharedMember::Object(self.object(key, vec![whole(&stream)]), stream),
            });
        }
        self.metadata.write(CommitShared { segment, members, lease: self.lease }).await.unwrap();
    }

    async fn copy(&mut self) {
        let (source_key, target) = (self.key(), self.key());
        let find = FindObject { bucket: self.bucket.clone(), key: source_key.clone(), with_source: false };
        let Ok(found) = self.metadata.read(find).await.unwrap() else { return };
        let stale = u64::from(self.dice.random_ratio(1, 8));
        let object = self.object(target, Vec::new());
        let source_sequence = found.current.sequence - stale;
        let copy = CopyObject { source_bucket: self.bucket.clone(), source_key, source_sequence, object };
        let _ = self.metadata.write(copy).await.unwrap();
    }

    async fn delete(&mut self) {
        let objects: Vec<_> = (0..2).map(|_| (self.key(), WriteCondition::default())).collect();
        let outcome = self.metadata.write(DeleteObjects { bucket: self.bucket.clone(), objects }).await.unwrap();
        assert!(matches!(outcome, Ok(_) | Err(Refusal::NoSuchBucket)), "{outcome:?}");
    }

    fn some_upload(&mut self) -> Option<(ObjectKey, UploadId)> {
        self.uploads.lock().unwrap().choose(&mut self.dice).cloned()
    }

    async fn begin_upload(&mut self) {
        let (key, upload) = (self.key(), UploadId::from_bytes(self.random()));
        let (headers, now) = (ObjectHeaders::default(), UnixMillis(1));
        let bucket = self.bucket.clone();
        let create = CreateMultipart { bucket, key: key.clone(), upload, headers, checksum: None, now };
        match self.metadata.write(create).await.unwrap() {
            Ok(()) => self.uploads.lock().unwrap().push((key, upload)),
            Err(refusal) => assert_eq!(refusal, Refusal::NoSuchBucket),
        }
    }

    fn part(&mut self, key: ObjectKey, upload: UploadId, spans: Vec<Span>) -> NewPart {
        NewPart {
            bucket: self.bucket.clone(),
            key,
            upload,
            row: PartRow {
                number: self.dice.random_range(1..4),
                size_bytes: spans.iter().map(|span| span.length).sum(),
                modified: UnixMillis(1),
                etag: "part".into(),
                checksum: None,
                spans,
            },
        }
    }

    async fn put_part(&mut self) {
        let Some((key, upload)) = self.some_upload() else { return };
        let segments = vec![self.segment(), self.segment()];
        let stream = self.stream(&[segments[0].segment, segments[1].segment]);
        let part = self.part(key, upload, vec![whole(&stream)]);
        let commit = CommitPart { part, stream: Some(stream), segments: segments.clone(), lease: Some(self.lease) };
        let outcome = self.metadata.write(commit).await.unwrap();
        self.settle(outcome, &segments).await;
    }

    /// Shares the streams of an object, one of them twice.
    async fn copy_part(&mut self) {
        let (Some((key, upload)), source) = (self.some_upload(), self.key()) else { return };
        let find = FindObject { bucket: self.bucket.clone(), key: source, with_source: true };
        let Ok(FoundObject { source: Source::Body { mut spans, .. }, .. }) = self.metadata.read(find).await.unwrap()
        else {
            return;
        };
        spans.extend(spans.first().copied());
        if self.dice.random_ratio(1, 4) {
            self.delete().await;
            self.release(100).await;
        }
        let part = self.part(key, upload, spans);
        let _ = self.metadata.write(CommitCopiedPart { part }).await.unwrap();
    }

    /// Some of the parts, sometimes such as have changed meanwhile.
    async fn complete(&mut self) {
        let Some((key, upload)) = self.some_upload() else { return };
        let find = FindUpload { bucket: self.bucket.clone(), key: key.clone(), upload };
        let listed = self.metadata.read(ListParts { upload: find, after: 0, limit: 10 }).await.unwrap();
        let Ok((_, rows)) = listed else { return };
        let kept: Vec<PartRow> = rows.into_iter().filter(|_| self.dice.random_ratio(3, 4)).collect();
        if self.dice.random_ratio(1, 6) {
            self.put_part().await;
        }
        if kept.is_empty() {
            return;
        }
        let spans = kept.iter().flat_map(|part| part.spans.clone()).collect();
        let object = self.object(key, spans);
        let parts = kept.into_iter().map(|part| (part.number, part.spans)).collect();
        if self.metadata.write(CompleteObject { object, upload, parts }).await.unwrap().is_ok() {
            self.uploads.lock().unwrap().retain(|(_, known)| *known != upload);
        }
    }

    async fn abort(&mut self) {
        let Some((key, upload)) = self.some_upload() else { return };
        let find = FindUpload { bucket: self.bucket.clone(), key, upload };
        let _ = self.metadata.write(AbortUpload { upload: find }).await.unwrap();
        // Sometimes it is used after its end: everything on it is refused.
        if self.dice.random_ratio(3, 4) {
            self.uploads.lock().unwrap().retain(|(_, known)| *known != upload);
        }
    }

    async fn release(&mut self, extents: usize) {
        while self.metadata.write(ReleaseGarbage { older_than_ms: 0, extents }).await.unwrap() {}
    }

    async fn step(&mut self) {
        match self.dice.random_range(0..100) {
            0..12 => self.put().await,
            12..24 => self.put_shared().await,
            24..33 => self.copy().await,
            33..42 => self.delete().await,
            42..48 => self.begin_upload().await,
            48..58 => self.put_part().await,
            58..66 => self.copy_part().await,
            66..72 => self.complete().await,
            72..76 => self.abort().await,
            76..86 => self.begin_repair().await,
            86..93 => self.end_repair().await,
            93..96 => self.merge().await,
            _ => drop(self.metadata.write(ReleaseGarbage { older_than_ms: 0, extents: 3 }).await.unwrap()),
        }
    }

    async fn audit(&self, empty: bool) {
        let (settled, unsettled) = (self.settled.clone(), self.unsettled.clone());
        self.metadata.read(Audit { settled, unsettled, empty }).await.unwrap();
    }
}

fn whole(stream: &NewStream) -> Span {
    Span { stream: stream.stream, offset: 0, length: stream.size_bytes }
}

impl Model {
    /// One that holds a lease of its own, on the bucket and the nodes that [`furnish`] makes.
    async fn new(metadata: Metadata, seed: u64) -> Self {
        let mut dice = SmallRng::seed_from_u64(seed);
        let holder = Holder(dice.random());
        let epoch = metadata.write(AcquireLease { holder }).await.unwrap();
        Self {
            metadata,
            dice,
            lease: Lease { holder, epoch },
            bucket: BucketName::new("suite").unwrap(),
            settled: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            repairs: Vec::new(),
            claims: BTreeMap::new(),
            uploads: Arc::default(),
        }
    }

    /// Ends everything that it began and removes what there is.
    async fn clear(&mut self) {
        let keys = (0..6).map(|number| ObjectKey::new(format!("key-{number}")).unwrap());
        let objects = keys.map(|key| (key, WriteCondition::default())).collect();
        let _ = self.metadata.write(DeleteObjects { bucket: self.bucket.clone(), objects }).await.unwrap();
        while !self.uploads.lock().unwrap().is_empty() {
            self.abort().await;
        }
        self.release(100).await;
        while !self.repairs.is_empty() {
            self.end_repair().await;
        }
    }
}

/// Makes the model's bucket and nodes.
async fn furnish(metadata: &Metadata) {
    let name = BucketName::new("suite").unwrap();
    metadata.write(CreateBucket { name, now: UnixMillis(1) }).await.unwrap();
    for node in 0..NODES {
        let place = PlaceNode { node: NodeId::from_bytes([node; 32]), place: node.to_string(), instead_of: None };
        metadata.write(place).await.unwrap();
    }
}

/// Runs the suite on an engine that holds nothing yet.
pub(super) async fn references_and_garbage_add_up(metadata: Metadata, seed: u64, steps: usize) {
    furnish(&metadata).await;
    let mut model = Model::new(metadata, seed).await;
    for _ in 0..steps {
        model.step().await;
        model.audit(false).await;
    }
    model.clear().await;
    model.audit(true).await;
    model.metadata.close().await;
}

#[cfg(test)]
mod random {
    /// A new one, told to whoever wants to see the same again.
    pub(super) fn seed() -> u64 {
        let seed = rand::random();
        println!("seed {seed}");
        seed
    }
}
