//! The gathering of shares. The pieces that hold a range are asked first and
//! nothing is decoded; what fails, lies or is late is made up for by any other
//! pieces, while the late ones may still win.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};

use super::TransferError;
use super::pace::Kind;
use super::read::{Fetched, SegmentReader};
use super::rebuild::Pieces;
use crate::erasure::{CodingError, Recovery};
use crate::metadata::PiecePlace;
use crate::types::PieceNumber;

/// One is late that takes so many times the median of its peers in this read;
/// never before the second, which is the machine's own noise.
const PEER_MEDIANS: u32 = 2;
const LATE_MIN: Duration = Duration::from_millis(20);
/// While nobody can become late, it looks again after this.
const LOOK: Duration = Duration::from_secs(1);

/// How a gathering ended.
pub(super) enum Progress {
    /// Every share of the range is there.
    Direct,
    /// Enough whole pieces are there to compute the rest.
    Decode,
    /// Neither, and nobody is left to ask.
    Stuck,
}

/// Records of a piece.
struct Records {
    stripes: Range<u16>,
    records: Vec<Bytes>,
}

/// Somebody who was asked and has not answered.
struct Asked {
    place: PiecePlace,
    stripes: Range<u16>,
    begun: Instant,
    patience: Duration,
    /// It is not asked before this whether it is late.
    excused_until: Instant,
    late: bool,
}

/// Shares of some stripes.
pub(super) struct Gather<'r> {
    reader: &'r SegmentReader,
    stripes: Range<u16>,
    /// The data pieces that hold the range, each with its stripes of it.
    wanted: BTreeMap<u16, Range<u16>>,
    good: BTreeMap<u16, Records>,
    running: FuturesUnordered<BoxFuture<'static, Fetched>>,
    asked: Vec<Asked>,
    /// How long those took that have answered.
    times: Vec<Duration>,
    /// Pieces that could be asked for all of the stripes.
    spare: VecDeque<PiecePlace>,
    /// Whether any k pieces are gathered, as well as those that are wanted.
    decoding: bool,
}

impl<'r> Gather<'r> {
    /// The shares that hold a range.
    pub(super) fn for_range(reader: &'r SegmentReader, range: Range<u32>) -> Self {
        let wanted = reader.layout.pieces_for(range.clone()).into_iter();
        let mut gather = Self::new(reader, reader.layout.stripes_for(range), false);
        gather.wanted = wanted.map(|wanted| (wanted.piece.0, wanted.stripes)).collect();
        let places = gather.readable();
        let swift = |place: &PiecePlace| !reader.transfer.fleet.is_slow_at(place.node, Kind::Get);
        let enough = places.iter().filter(|place| swift(place)).count() >= reader.required();
        for (piece, stripes) in gather.wanted.clone() {
            match places.iter().find(|place| place.piece.0 == piece) {
                Some(place) if swift(place) || !enough => gather.ask(*place, stripes),
                _ => gather.decoding = true,
            }
        }
        gather.spare = gather.order_spares(places, &[]);
        gather
    }

    /// Any k whole pieces; those on the nodes in `avoid` last.
    pub(super) fn for_pieces(reader: &'r SegmentReader, avoid: &[u32]) -> Self {
        let mut gather = Self::new(reader, 0..reader.layout.stripes(), true);
        gather.spare = gather.order_spares(gather.readable(), avoid);
        gather
    }

    fn new(reader: &'r SegmentReader, stripes: Range<u16>, decoding: bool) -> Self {
        let (wanted, good, running) = (BTreeMap::new(), BTreeMap::new(), FuturesUnordered::new());
        let (asked, times, spare) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { reader, stripes, wanted, good, running, asked, times, spare, decoding }
    }

    fn readable(&self) -> Vec<PiecePlace> {
        let mut places = self.reader.row.pieces.clone();
        places.retain(|place| self.reader.transfer.fleet.is_readable(place.node));
        places
    }

    /// Whole pieces that are asked anyway are no spares. Nodes that are not
    /// slow come first, of these data pieces, since they need no decoding,
    /// then the others at random.
    fn order_spares(&self, mut places: Vec<PiecePlace>, avoid: &[u32]) -> VecDeque<PiecePlace> {
        let whole =
            |place: &PiecePlace| self.asked.iter().any(|asked| asked.place == *place && asked.stripes == self.stripes);
        places.retain(|place| !whole(place));
        places.shuffle(&mut rand::rng());
        let fleet = &self.reader.transfer.fleet;
        places.sort_by_cached_key(|place| {
            let parity = usize::from(place.piece.0) >= self.reader.required();
            (avoid.contains(&place.node), fleet.is_slow_at(place.node, Kind::Get), parity)
        });
        places.into()
    }

    fn ask(&mut self, place: PiecePlace, stripes: Range<u16>) {
        let patience = self.reader.transfer.fleet.late_after(Kind::Get, self.reader.record_bytes(&stripes));
        self.running.push(self.reader.clone().fetch(place, stripes.clone()).boxed());
        let begun = Instant::now();
        self.asked.push(Asked { place, stripes, begun, patience, excused_until: begun, late: false });
    }

    /// Until there is enough, or nobody is left.
    pub(super) async fn run(&mut self) -> Progress {
        loop {
            if let Some(progress) = self.progress() {
                return progress;
            }
            self.mark_late();
            self.ask_spares();
            match timeout_at(self.next_late(), self.running.next()).await {
                Ok(Some(fetched)) => self.take(fetched),
                Ok(None) => return Progress::Stuck,
                Err(_) => {}
            }
        }
    }

    fn progress(&self) -> Option<Progress> {
        if !self.wanted.is_empty() && self.wanted.keys().all(|piece| self.has(*piece)) {
            return Some(Progress::Direct);
        }
        (self.whole_pieces().count() >= self.reader.required()).then_some(Progress::Decode)
    }

    fn take(&mut self, fetched: Fetched) {
        let Fetched { place, stripes, records } = fetched;
        if let Some(at) = self.asked.iter().position(|asked| asked.place == place && asked.stripes == stripes) {
            let asked = self.asked.swap_remove(at);
            self.times.push(asked.begun.elapsed());
        }
        match records {
            // A part that was asked for first may come after the whole.
            Ok(records) if self.good.get(&place.piece.0).is_some_and(|held| held.records.len() > records.len()) => {}
            Ok(records) => {
                self.good.insert(place.piece.0, Records { stripes, records });
            }
            Err(error) => {
                tracing::debug!(node = place.node, %error, "a piece could not be read");
                self.decoding = true;
            }
        }
    }

    /// Those who take longer than the cluster did lately for so much, or than
    /// their peers in this read, do not count any more.
    fn mark_late(&mut self) {
        let (now, peers) = (Instant::now(), self.peers());
        for asked in self.asked.iter_mut().filter(|asked| !asked.late && asked.late_at(peers) <= now) {
            if self.reader.transfer.fleet.may_hedge() {
                asked.late = true;
                self.decoding = true;
            } else {
                asked.excused_until = now + asked.patience;
            }
        }
    }

    /// What is long beside the peers, once half of them have answered.
    fn peers(&self) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let median = times.get(times.len() / 2)?;
        (times.len() >= self.asked.len()).then(|| (*median * PEER_MEDIANS).max(LATE_MIN))
    }

    fn next_late(&self) -> Instant {
        let (now, peers) = (Instant::now(), self.peers());
        let waiting = self.asked.iter().filter(|asked| !asked.late);
        waiting.map(|asked| asked.late_at(peers)).min().unwrap_or(now + LOOK)
    }

    /// As many as it takes to get to k whole pieces without those who are late.
    fn ask_spares(&mut self) {
        let whole = |asked: &&Asked| !asked.late && asked.stripes == self.stripes;
        let mut hopeful = self.whole_pieces().count() + self.asked.iter().filter(whole).count();
        while self.decoding
            && hopeful < self.reader.required()
            && let Some(place) = self.spare.pop_front()
        {
            self.ask(place, self.stripes.clone());
            hopeful += 1;
        }
    }

    fn has(&self, piece: u16) -> bool {
        match (self.wanted.get(&piece), self.good.get(&piece)) {
            (Some(wanted), Some(good)) => good.stripes.start <= wanted.start && wanted.end <= good.stripes.end,
            _ => false,
        }
    }

    fn whole_pieces(&self) -> impl Iterator<Item = u16> {
        self.good.iter().filter(|(_, held)| held.stripes == self.stripes).map(|(piece, _)| *piece)
    }

    /// Fewer than k pieces gave what was asked.
    pub(super) fn unreadable(&self) -> TransferError {
        let (segment, required) = (self.reader.row.segment, self.reader.required());
        TransferError::Unreadable { segment, readable: self.whole_pieces().count(), required }
    }

    /// k whole pieces.
    pub(super) fn into_pieces(mut self) -> Pieces {
        let numbers: Vec<u16> = self.whole_pieces().take(self.reader.required()).collect();
        let held = numbers.into_iter().filter_map(|piece| Some((piece, self.good.remove(&piece)?.records)));
        held.collect()
    }

    /// Computes the data shares that are wanted and missing.
    pub(super) async fn decode(&mut self) -> Result<(), TransferError> {
        let have: Vec<PieceNumber> = self.whole_pieces().take(self.reader.required()).map(PieceNumber).collect();
        let want: Vec<PieceNumber> =
            self.wanted.keys().filter(|piece| !self.has(**piece)).map(|piece| PieceNumber(*piece)).collect();
        let pieces: Vec<Vec<Bytes>> = have.iter().map(|piece| self.good[&piece.0].records.clone()).collect();
        let (coding, wanted) = (self.reader.layout.coding(), want.clone());
        let (stripes, share_bytes) = (self.stripes.len(), self.reader.layout.share_bytes());
        let computed = tokio::task::spawn_blocking(move || {
            let plan = Recovery::plan(coding, &have, &wanted)?;
            let mut recovered = vec![Vec::with_capacity(stripes); wanted.len()];
            for stripe in 0..stripes {
                let given: Vec<&[u8]> = pieces.iter().map(|records| &records[stripe][..share_bytes]).collect();
                let mut out = vec![vec![0; share_bytes]; wanted.len()];
                plan.recover(&given, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
                recovered.iter_mut().zip(out).for_each(|(piece, share)| piece.push(Bytes::from(share)));
            }
            Ok::<_, CodingError>(recovered)
        });
        let recovered = computed.await.map_err(|_| TransferError::Closing)?;
        let recovered = recovered.map_err(|error| self.reader.corrupt(error.to_string()))?;
        for (piece, records) in want.into_iter().zip(recovered) {
            self.good.insert(piece.0, Records { stripes: self.stripes.clone(), records });
        }
        Ok(())
    }

    /// The range's bytes out of its data shares.
    pub(super) fn assemble(&self, range: Range<u32>) -> Result<Vec<u8>, TransferError> {
        let mut bytes = Vec::with_capacity(range.len());
        let share_bytes = self.reader.layout.share_bytes();
        let share = |stripe: u16, piece: PieceNumber| {
            let held = self.good.get(&piece.0)?;
            held.records.get(usize::from(stripe.checked_sub(held.stripes.start)?))?.get(..share_bytes)
        };
        let copied = self.reader.layout.copy_range(range, share, &mut bytes);
        copied.map_err(|error| self.reader.corrupt(error.to_string()))?;
        Ok(bytes)
    }
}

impl Asked {
    fn late_at(&self, peers: Option<Duration>) -> Instant {
        let late_at = self.begun + peers.map_or(self.patience, |peers| peers.min(self.patience));
        late_at.max(self.excused_until)
    }
}
