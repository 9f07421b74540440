//! What happens in the model, one step at a time. Whatever has more than one
//! step is kept between them, goes on later, and may never go on.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::town::{Change, Gateway, NODES, Order, Rule, Town, Upload, WEEK_MS, Walk};
use crate::metadata::suite::Elapse;
use crate::metadata::*;
use crate::types::{
    BodyId, ETagMatch, Epoch, Incarnation, KeyVersion, ObjectHeaders, ObjectKey, PieceId, PieceNumber, Revision,
    SegmentId, StreamId, UnixMillis, UploadId, WriteCondition,
};
use crate::wire::InventoryEntry;

use super::super::super::reclaim::round::Round;

/// Bytes of each segment, and of the run that a stream has in it.
const RUN: u32 = 100;
const MINUTE_MS: i64 = 60_000;

impl Town {
    /// One step. Answers what it was.
    pub(super) async fn step(&mut self) -> &'static str {
        match self.dice.random_range(0..100) {
            0..10 => self.begin_upload().await,
            10..26 => self.send().await,
            26..36 => self.commit().await,
            36..39 => self.give_up().await,
            39..48 => self.renew().await,
            48..50 => self.restart().await,
            50..54 => self.copy().await,
            54..58 => self.delete_object().await,
            58..61 => self.multipart().await,
            61..64 => self.release().await,
            64..68 => self.begin_repair().await,
            68..71 => self.begin_merge().await,
            71..75 => self.end_change().await,
            75..89 => self.go_on_walking().await,
            89..93 => self.some_node_deletes().await,
            93..95 => self.arrive_late(),
            95..96 => self.set_back(),
            _ => self.elapse().await,
        }
    }

    // ---- gateways ---------------------------------------------------------

    pub(super) async fn start_gateway(&mut self) {
        let holder = Holder(self.random());
        let epoch = self.metadata.write(AcquireLease { holder }).await.unwrap();
        self.gateways.push(Gateway { holder, epoch, uploads: Vec::new(), changes: Vec::new() });
    }

    fn some_gateway(&mut self) -> usize {
        self.dice.random_range(0..self.gateways.len())
    }

    fn new_segment(&mut self, epoch: Epoch) -> NewSegment {
        let segment = SegmentId::from_bytes(self.random());
        let nodes = rand::seq::index::sample(&mut self.dice, NODES as usize, 2);
        let place = |(piece, node)| PiecePlace { piece: PieceNumber(piece), node, incarnation: Incarnation(1) };
        let pieces = (0..).zip(nodes.iter().map(|node| node as u32 + 1)).map(place).collect();
        NewSegment {
            segment,
            layout: vec![1],
            mac_key: [0; 32],
            root: [0; 16],
            epoch,
            revision: Revision(1),
            live_bytes: 0,
            pieces,
        }
    }

    async fn begin_upload(&mut self) -> &'static str {
        let at = self.some_gateway();
        let epoch = self.gateways[at].epoch;
        let segments: Vec<NewSegment> = (0..self.dice.random_range(1..3)).map(|_| self.new_segment(epoch)).collect();
        let places = |segment: &NewSegment| {
            let id = segment.segment;
            segment.pieces.clone().into_iter().map(move |place| (id, place))
        };
        let to_send = segments.iter().flat_map(places).collect();
        let part_of = if self.dice.random_ratio(1, 3) { self.some_part() } else { None };
        self.gateways[at].uploads.push(Upload { epoch, segments, to_send, part_of });
        "an upload begins"
    }

    /// A piece arrives. Sometimes another one is on its way that nobody waits
    /// for any more: its node was too slow.
    async fn send(&mut self) -> &'static str {
        let at = self.some_gateway();
        let Some(upload) = self.gateways[at].uploads.last_mut() else { return "nothing to send" };
        let epoch = upload.epoch;
        let Some((segment, place)) = upload.to_send.pop() else { return "nothing to send" };
        let id = self.piece_id(segment, &place);
        self.disk(place.node).insert(id, (epoch, false));
        if self.dice.random_ratio(1, 6) {
            let slow = PiecePlace { node: self.dice.random_range(1..=NODES), piece: PieceNumber(7), ..place };
            let id = self.piece_id(segment, &slow);
            self.late.push(Order::Put(slow.node, id, epoch));
        }
        "a piece arrives"
    }

    fn stream(&mut self, segments: &[NewSegment]) -> NewStream {
        let extent = |(at, row): (usize, &NewSegment)| Extent {
            stream_offset: at as u64 * u64::from(RUN),
            segment: row.segment,
            segment_offset: 0,
            length: RUN,
        };
        NewStream {
            stream: StreamId::from_bytes(self.random()),
            size_bytes: segments.len() as u64 * u64::from(RUN),
            key_version: KeyVersion(1),
            wrapped_key: vec![0; 48],
            md5: [0; 16],
            checksum: None,
            content: StreamContent::Extents(segments.iter().enumerate().map(extent).collect()),
        }
    }

    fn object(&mut self, key: ObjectKey, spans: Vec<Span>) -> NewObject {
        let if_none_match = self.dice.random_ratio(1, 8).then_some(ETagMatch::Any);
        let body = NewBody { body: BodyId::from_bytes(self.random()), spans, parts: None };
        NewObject {
            bucket: self.bucket.clone(),
            key,
            condition: WriteCondition { if_match: None, if_none_match },
            headers: ObjectHeaders::default(),
            size_bytes: body.spans.iter().map(|span| span.length).sum(),
            etag: "etag".into(),
            checksum: None,
            modified: UnixMillis(1),
            content: ObjectContent::Body(body),
        }
    }

    fn part(&mut self, (key, upload): (ObjectKey, UploadId), spans: Vec<Span>) -> NewPart {
        let size_bytes = spans.iter().map(|span| span.length).sum();
        let row = PartRow {
            number: self.dice.random_range(1..3),
            size_bytes,
            modified: UnixMillis(1),
            etag: "part".into(),
            checksum: None,
            spans,
        };
        NewPart { bucket: self.bucket.clone(), key, upload, row }
    }

    /// An upload whose pieces are all there, of a gateway that may have been
    /// stalled for long.
    async fn commit(&mut self) -> &'static str {
        let at = self.some_gateway();
        let ready = self.gateways[at].uploads.iter().position(|upload| upload.to_send.is_empty());
        let Some(ready) = ready else { return "nothing to commit" };
        let Upload { epoch, segments, part_of, .. } = self.gateways[at].uploads.swap_remove(ready);
        let lease = Some(Lease { holder: self.gateways[at].holder, epoch }).filter(|_| self.rule != Rule::NoLease);
        let stream = self.stream(&segments);
        let spans = vec![Span { stream: stream.stream, offset: 0, length: stream.size_bytes }];
        let outcome = match part_of {
            Some(upload) => {
                let part = self.part(upload, spans);
                let commit = CommitPart { part, stream: Some(stream), segments: segments.clone(), lease };
                self.metadata.write(commit).await
            }
            None => {
                let key = self.key();
                let object = self.object(key, spans);
                let commit = CommitObject { object, streams: vec![stream], segments: segments.clone(), lease };
                self.metadata.write(commit).await
            }
        };
        if !matches!(outcome, Ok(Ok(()))) {
            self.abandon(segments).await;
        }
        "a commit"
    }

    /// Whoever does not commit condemns, if it lives so long.
    async fn abandon(&mut self, segments: Vec<NewSegment>) {
        if self.dice.random() {
            return;
        }
        let condemned = |row: NewSegment| {
            let segment = row.segment;
            row.pieces.into_iter().map(move |place| CondemnedPiece { segment, place })
        };
        let pieces = segments.into_iter().flat_map(condemned).collect();
        self.metadata.write(CondemnPieces { pieces }).await.unwrap();
    }

    async fn give_up(&mut self) -> &'static str {
        let at = self.some_gateway();
        let Some(upload) = self.gateways[at].uploads.pop() else { return "nothing to give up" };
        self.abandon(upload.segments).await;
        "an upload is given up"
    }

    async fn renew(&mut self) -> &'static str {
        let at = self.some_gateway();
        let Gateway { holder, epoch, uploads, changes } = &self.gateways[at];
        let (holder, changing) = (*holder, changes.iter().map(|change| change.epoch()));
        let oldest = uploads.iter().map(|upload| upload.epoch).chain(changing).chain([*epoch]).min();
        let renewed = match self.metadata.write(RenewLease { holder, oldest }).await {
            Err(MetadataError::LeaseLost) => self.metadata.write(AcquireLease { holder }).await,
            renewed => renewed,
        };
        self.gateways[at].epoch = renewed.unwrap();
        "a lease is renewed"
    }

    /// Dies in the middle of everything and comes back as another.
    async fn restart(&mut self) -> &'static str {
        let at = self.some_gateway();
        let old = self.gateways.swap_remove(at);
        if self.dice.random_ratio(1, 4) {
            self.metadata.write(ReleaseLease { holder: old.holder }).await.unwrap();
        }
        self.start_gateway().await;
        "a gateway dies"
    }

    async fn copy(&mut self) -> &'static str {
        let (source_key, key) = (self.key(), self.key());
        let find = FindObject { bucket: self.bucket.clone(), key: source_key.clone(), with_source: false };
        let Ok(found) = self.metadata.read(find).await.unwrap() else { return "nothing to copy" };
        let (object, source_sequence) = (self.object(key, Vec::new()), found.current.sequence);
        let copy = CopyObject { source_bucket: self.bucket.clone(), source_key, source_sequence, object };
        let _ = self.metadata.write(copy).await.unwrap();
        "a copy"
    }

    async fn delete_object(&mut self) -> &'static str {
        let objects = vec![(self.key(), WriteCondition::default())];
        let _ = self.metadata.write(DeleteObjects { bucket: self.bucket.clone(), objects }).await.unwrap();
        "an object is deleted"
    }

    /// A multipart upload begins, is completed, or is aborted.
    async fn multipart(&mut self) -> &'static str {
        let Some((key, upload)) = self.some_part().filter(|_| self.dice.random_ratio(2, 3)) else {
            let (key, upload) = (self.key(), UploadId::from_bytes(self.random()));
            let (bucket, headers, now) = (self.bucket.clone(), ObjectHeaders::default(), UnixMillis(1));
            let create = CreateMultipart { bucket, key: key.clone(), upload, headers, checksum: None, now };
            self.metadata.write(create).await.unwrap().unwrap();
            self.parts.push((key, upload));
            return "a multipart upload begins";
        };
        let find = || FindUpload { bucket: self.bucket.clone(), key: key.clone(), upload };
        let (list, abort) = (ListParts { upload: find(), after: 0, limit: 10 }, AbortUpload { upload: find() });
        let listed = self.metadata.read(list).await.unwrap();
        let Ok((_, rows)) = listed else { return "no such upload" };
        if rows.is_empty() {
            return "no parts";
        }
        let spans = rows.iter().flat_map(|part| part.spans.clone()).collect();
        let object = self.object(key, spans);
        let parts = rows.into_iter().map(|part| (part.number, part.spans)).collect();
        let done = match self.dice.random_ratio(3, 4) {
            true => self.metadata.write(CompleteObject { object, upload, parts }).await.unwrap().is_ok(),
            false => self.metadata.write(abort).await.unwrap().is_ok(),
        };
        self.parts.retain(|(_, known)| *known != upload || !done);
        "a multipart upload ends"
    }

    async fn release(&mut self) -> &'static str {
        self.metadata.write(ReleaseGarbage { older_than_ms: 0, extents: 3 }).await.unwrap();
        "garbage is released"
    }

    // ---- repairs and merges -----------------------------------------------

    async fn some_segments(&mut self, limit: u32) -> Vec<SegmentRow> {
        let after = self.dice.random::<bool>().then(|| SegmentId::from_bytes(self.random()));
        self.metadata.read(ScanSegments { after, limit }).await.unwrap()
    }

    async fn begin_repair(&mut self) -> &'static str {
        let at = self.some_gateway();
        let (holder, epoch) = (self.gateways[at].holder, self.gateways[at].epoch);
        let Some(row) = self.some_segments(1).await.pop() else { return "nothing to repair" };
        let claimed = self.metadata.write(ClaimSegment { segment: row.segment }).await.unwrap();
        let Some((row, claim)) = claimed else { return "nothing to repair" };
        let Some(removed) = row.pieces.choose(&mut self.dice).copied() else { return "nothing to repair" };
        let place = PiecePlace { node: self.dice.random_range(1..=NODES), incarnation: claim, ..removed };
        let id = self.piece_id(row.segment, &place);
        self.disk(place.node).insert(id, (epoch, false));
        let lease = Lease { holder, epoch };
        let (removed, placed) = (vec![removed], vec![place]);
        let replace = ReplacePieces { segment: row.segment, claim, removed, placed, lease };
        self.gateways[at].changes.push(Change::Repair(replace));
        "a repair begins"
    }

    async fn begin_merge(&mut self) -> &'static str {
        let at = self.some_gateway();
        let (holder, epoch) = (self.gateways[at].holder, self.gateways[at].epoch);
        let bin: Vec<SegmentId> = self.some_segments(2).await.iter().map(|row| row.segment).collect();
        let places = self.metadata.read(ScanStreams { after: None, limit: 1000 }).await.unwrap();
        let segment = self.new_segment(epoch);
        let (mut streams, mut offset) = (Vec::new(), 0);
        for place in places {
            let mut extents = place.extents.clone();
            for extent in extents.iter_mut().filter(|extent| bin.contains(&extent.segment)) {
                (extent.segment, extent.segment_offset) = (segment.segment, offset);
                offset += extent.length;
            }
            if extents != place.extents {
                streams.push((place, extents));
            }
        }
        if streams.is_empty() {
            return "nothing to merge";
        }
        for place in segment.pieces.clone() {
            let id = self.piece_id(segment.segment, &place);
            self.disk(place.node).insert(id, (epoch, false));
        }
        let merge = MoveStreams { segment, streams, lease: Lease { holder, epoch } };
        self.gateways[at].changes.push(Change::Merge(merge));
        "a merge begins"
    }

    async fn end_change(&mut self) -> &'static str {
        let at = self.some_gateway();
        match self.gateways[at].changes.pop() {
            None => "nothing to end",
            Some(Change::Repair(replace)) => {
                let placed =
                    replace.placed.iter().map(|place| CondemnedPiece { segment: replace.segment, place: *place });
                let pieces = placed.collect();
                let done = self.metadata.write(replace).await;
                if !matches!(done, Ok(true)) && self.dice.random() {
                    self.metadata.write(CondemnPieces { pieces }).await.unwrap();
                }
                "a repair ends"
            }
            Some(Change::Merge(merge)) => {
                let segment = merge.segment.clone();
                if self.metadata.write(merge).await.is_err() {
                    self.abandon(vec![segment]).await;
                }
                "a merge ends"
            }
        }
    }

    // ---- reclaim ----------------------------------------------------------

    async fn go_on_walking(&mut self) -> &'static str {
        match &mut self.walk {
            None => {
                self.begin_walk().await;
                "a walk begins"
            }
            Some(_) if self.dice.random_ratio(1, 20) => {
                self.walk = None;
                "a walk is cut off"
            }
            Some(walk) if !walk.is_over => {
                self.page().await;
                "a page is seen"
            }
            Some(_) => {
                self.ask().await;
                "the nodes are compared"
            }
        }
    }

    async fn round(&mut self) -> Round {
        let (subjects, own, salt) = (self.subjects(), Holder([0; 16]), u64::from_le_bytes(self.random()));
        Round::begin(&self.metadata, self.ids.clone(), own, &subjects, salt).await.unwrap()
    }

    async fn begin_walk(&mut self) {
        self.rounds += 1;
        let round = if self.rule == Rule::ScanFirst { None } else { Some(self.round().await) };
        let overlooks = self.rule == Rule::Overlooks && self.may_overlook && self.rounds < 100;
        self.walk = Some(Walk { round, after: None, is_over: false, seen: Vec::new(), overlooks });
    }

    async fn page(&mut self) {
        const PAGE: u32 = 2;
        let is_careless = self.dice.random_ratio(1, 3);
        let Some(walk) = &mut self.walk else { return };
        let rows = self.metadata.read(ScanSegments { after: walk.after, limit: PAGE }).await.unwrap();
        walk.is_over = rows.len() < PAGE as usize;
        walk.after = rows.last().map(|row| row.segment);
        match &mut walk.round {
            Some(_) if walk.overlooks && is_careless => {}
            Some(round) => round.see(&rows),
            None => walk.seen.extend(rows),
        }
    }

    /// Every node is asked, as it is now.
    async fn ask(&mut self) {
        let Some(walk) = self.walk.take() else { return };
        // One mistake at a time: a whole comparison comes after it.
        self.may_overlook = !walk.overlooks;
        let round = match walk.round {
            Some(round) => round,
            None => {
                let mut round = self.round().await;
                round.see(&walk.seen);
                round
            }
        };
        for node in 1..=NODES {
            let mut found = round.check(&self.metadata, node).await.unwrap();
            let known = round.known(node).unwrap().clone();
            let entry = |(id, (epoch, trashed)): (&PieceId, &(Epoch, bool))| InventoryEntry {
                id: *id,
                epoch: *epoch,
                length: 1,
                trashed: *trashed,
            };
            let before = round.before();
            let answer: Vec<InventoryEntry> =
                self.disk(node).iter().map(entry).filter(|entry| known.contradicts(entry, before)).collect();
            found.restore.extend(round.hear(&self.metadata, node, &answer).await.unwrap().restore);
            round.done(&self.metadata, node).await.unwrap();
            self.restored += found.restore.len();
            self.order(Order::Restore(node, found.restore));
        }
    }

    pub(super) async fn finish_walk(&mut self) {
        while self.walk.as_ref().is_some_and(|walk| !walk.is_over) {
            self.page().await;
        }
        self.ask().await;
    }

    pub(super) async fn whole_walk(&mut self) {
        self.begin_walk().await;
        self.finish_walk().await;
    }

    // ---- nodes ------------------------------------------------------------

    /// A node is told, and sometimes a second time, later.
    fn order(&mut self, order: Order) {
        if self.rounds < 100 && self.dice.random_ratio(1, 6) {
            self.late.push(order.clone());
        }
        self.obey(order);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Put(node, id, epoch) => drop(self.disk(node).insert(id, (epoch, false))),
            Order::Trash(node, ids) => self.set(node, &ids, true),
            Order::Restore(node, ids) => self.set(node, &ids, false),
            Order::Purge(node, ids) => self.disk(node).retain(|id, (_, trashed)| !*trashed || !ids.contains(id)),
        }
    }

    fn set(&mut self, node: u32, ids: &[PieceId], in_trash: bool) {
        for id in ids {
            if let Some((_, trashed)) = self.disk(node).get_mut(id) {
                *trashed = in_trash;
            }
        }
    }

    fn arrive_late(&mut self) -> &'static str {
        if !self.late.is_empty() {
            let at = self.dice.random_range(0..self.late.len());
            let order = self.late.swap_remove(at);
            self.obey(order);
        }
        "an order arrives late"
    }

    /// A node's disk is put aside, or an old one is put back.
    fn set_back(&mut self) -> &'static str {
        let at = self.dice.random_range(0..self.nodes.len());
        let node = &mut self.nodes[at];
        match node.image.take() {
            None => node.image = Some(node.disk.clone()),
            Some(image) => {
                self.lost.extend(node.disk.keys().filter(|id| !image.contains_key(*id)));
                node.disk = image;
            }
        }
        "a node is set back"
    }

    async fn some_node_deletes(&mut self) -> &'static str {
        let (node, dies) = (self.dice.random_range(1..=NODES), self.dice.random_ratio(1, 8));
        self.delete(node, dies).await;
        "a node deletes"
    }

    /// What the delete worker does for a node; it may die before it notes that.
    pub(super) async fn delete(&mut self, node: u32, dies: bool) {
        let (metadata, limit, older_than_ms) = (self.metadata.clone(), 1000, WEEK_MS);
        let ids = |town: &Self, pieces: &[CondemnedPiece]| {
            pieces.iter().map(|piece| town.piece_id(piece.segment, &piece.place)).collect()
        };
        let pieces = metadata.read(PiecesToTrash { node, limit }).await.unwrap();
        self.order(Order::Trash(node, ids(self, &pieces)));
        let purged = metadata.read(PiecesToPurge { node, limit, older_than_ms }).await.unwrap();
        self.order(Order::Purge(node, ids(self, &purged)));
        let strays = metadata.read(StraysToTrash { node, limit }).await.unwrap();
        self.order(Order::Trash(node, strays.clone()));
        let gone = metadata.read(StraysToPurge { node, limit, older_than_ms }).await.unwrap();
        self.order(Order::Purge(node, gone.clone()));
        if dies {
            return;
        }
        metadata.write(MarkTrashed { pieces }).await.unwrap();
        metadata.write(ForgetCondemned { pieces: purged }).await.unwrap();
        metadata.write(MarkStraysTrashed { node, pieces: strays }).await.unwrap();
        metadata.write(ForgetStrays { node, pieces: gone }).await.unwrap();
    }

    /// Minutes, a quarter of an hour in which leases run out, a week, or a
    /// clock that is set back a day.
    async fn elapse(&mut self) -> &'static str {
        let ms = match self.dice.random_range(0..10) {
            0..3 => MINUTE_MS,
            3..7 => 15 * MINUTE_MS,
            7..9 => WEEK_MS as i64 + MINUTE_MS,
            _ => -24 * 60 * MINUTE_MS,
        };
        self.metadata.write(Elapse(ms)).await.unwrap();
        "time passes"
    }
}

impl Change {
    fn epoch(&self) -> Epoch {
        match self {
            Self::Repair(replace) => replace.lease.epoch,
            Self::Merge(merge) => merge.lease.epoch,
        }
    }
}
