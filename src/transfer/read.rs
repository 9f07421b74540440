//! A range of a segment from its nodes. The pieces that hold the range are
//! asked first and nothing is decoded; what fails, lies or dawdles is made up
//! for by any other pieces.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rand::seq::SliceRandom;

use super::rebuild::Pieces;
use super::{Transfer, TransferError};
use crate::erasure::{CodingError, Recovery};
use crate::metadata::{PiecePlace, SegmentRow};
use crate::segment::{Layout, MacKey};
use crate::transport::NodeError;
use crate::types::PieceNumber;

/// After this long without an answer one more piece is asked.
const HEDGE: Duration = Duration::from_secs(1);

/// Reads one segment. Cheap to clone.
#[derive(Clone)]
pub struct SegmentReader {
    pub(super) transfer: Transfer,
    pub(super) row: Arc<SegmentRow>,
    pub(super) layout: Layout,
    pub(super) mac_key: Arc<MacKey>,
}

impl SegmentReader {
    /// Reads the segment of this row.
    pub fn new(transfer: Transfer, row: SegmentRow) -> Result<Self, TransferError> {
        let layout = Layout::from_bytes(&row.layout)
            .map_err(|error| TransferError::Corrupt { segment: row.segment, reason: error.to_string() })?;
        let mac_key = Arc::new(MacKey::from_bytes(row.mac_key));
        Ok(Self { transfer, row: Arc::new(row), layout, mac_key })
    }

    /// The ciphertext in that range of the segment, from good shares only.
    pub async fn read(&self, range: Range<u32>) -> Result<Vec<u8>, TransferError> {
        if range.start >= range.end || range.end > self.layout.length() {
            let reason = format!("bytes {}..{} are not in it", range.start, range.end);
            return Err(self.corrupt(reason));
        }
        let mut gather = Gather::new(self, range);
        match gather.run().await {
            Progress::Direct => gather.assemble(),
            Progress::Decode => gather.decode().await,
            Progress::Stuck => Err(TransferError::Unreadable {
                segment: self.row.segment,
                readable: gather.whole_pieces().count(),
                required: self.required(),
            }),
        }
    }

    pub(super) fn required(&self) -> usize {
        usize::from(self.layout.coding().required())
    }

    pub(super) fn corrupt(&self, reason: String) -> TransferError {
        TransferError::Corrupt { segment: self.row.segment, reason }
    }

    /// Any k whole pieces; those on the nodes in `avoid` last.
    pub(super) async fn read_pieces(&self, avoid: &[u32]) -> Result<Pieces, TransferError> {
        let stripes = 0..self.layout.stripes();
        let mut gather = Gather::new(self, 0..self.layout.length());
        let mut places = self.row.pieces.clone();
        places.retain(|place| self.transfer.fleet.is_readable(place.node));
        gather.wanted.clear();
        let mut spare = gather.order_spares(places);
        spare.make_contiguous().sort_by_key(|place| avoid.contains(&place.node));
        let mut running = FuturesUnordered::new();
        let mut good = Pieces::new();
        while good.len() < self.required() {
            while good.len() + running.len() < self.required()
                && let Some(place) = spare.pop_front()
            {
                running.push(self.clone().fetch(place, stripes.clone()));
            }
            let Some(fetched) = running.next().await else {
                let (readable, required) = (good.len(), self.required());
                return Err(TransferError::Unreadable { segment: self.row.segment, readable, required });
            };
            match fetched.shares {
                Ok(records) => drop(good.insert(fetched.place.piece.0, records)),
                Err(_) => self.transfer.fleet.observe(fetched.place.node, false),
            }
        }
        Ok(good)
    }

    /// Asks a node for some stripes' shares of its piece, and checks each.
    async fn fetch(self, place: PiecePlace, stripes: Range<u16>) -> Fetched {
        let shares = self.fetch_shares(place, stripes.clone()).await;
        Fetched { place, stripes, shares }
    }

    async fn fetch_shares(&self, place: PiecePlace, stripes: Range<u16>) -> Result<Vec<Bytes>, NodeError> {
        let fleet = &self.transfer.fleet;
        let node = fleet.node_id(place.node).ok_or(NodeError::Offline)?;
        let id = self.transfer.piece_id(self.row.segment, &place).ok_or(NodeError::Offline)?;
        let range = self.layout.range_in_piece(stripes.clone());
        let mut piece = fleet.nodes().get_piece(node, id, range.start as u64..range.end as u64).await?;
        let record = piece.len() / stripes.len();
        let mut shares = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            let share = piece.split_to(record);
            if self.mac_key.verify_share(place.piece, stripe, &share).is_err() {
                tracing::warn!(%node, segment = %self.row.segment, piece = place.piece.0, stripe, "a node gave a wrong share");
                fleet.count_wrong_share(place.node);
                return Err(NodeError::Broken("a share's MAC is wrong".into()));
            }
            shares.push(share);
        }
        Ok(shares)
    }
}

struct Fetched {
    place: PiecePlace,
    stripes: Range<u16>,
    shares: Result<Vec<Bytes>, NodeError>,
}

struct Shares {
    stripes: Range<u16>,
    shares: Vec<Bytes>,
}

enum Progress {
    /// Every share of the range is there.
    Direct,
    /// Enough whole pieces are there to compute the rest.
    Decode,
    /// Neither, and nobody is left to ask.
    Stuck,
}

/// The gathering of shares for one range.
struct Gather<'r> {
    reader: &'r SegmentReader,
    range: Range<u32>,
    /// All stripes that the range touches.
    stripes: Range<u16>,
    /// The data pieces that hold the range, each with its stripes of it.
    wanted: BTreeMap<u16, Range<u16>>,
    good: BTreeMap<u16, Shares>,
    /// Pieces that could be asked for all of the stripes.
    spare: VecDeque<PiecePlace>,
    /// How many pieces shall be asked for all of the stripes, and are.
    target: usize,
    asked: usize,
}

impl<'r> Gather<'r> {
    fn new(reader: &'r SegmentReader, range: Range<u32>) -> Self {
        let pieces = reader.layout.pieces_for(range.clone()).into_iter();
        let wanted = pieces.map(|wanted| (wanted.piece.0, wanted.stripes)).collect();
        let stripes = reader.layout.stripes_for(range.clone());
        let (good, spare) = (BTreeMap::new(), VecDeque::new());
        Self { reader, range, stripes, wanted, good, spare, target: 0, asked: 0 }
    }

    async fn run(&mut self) -> Progress {
        let mut running = FuturesUnordered::new();
        let mut places: Vec<PiecePlace> = self.reader.row.pieces.clone();
        places.retain(|place| self.reader.transfer.fleet.is_readable(place.node));
        for (piece, stripes) in &self.wanted {
            match places.iter().find(|place| place.piece.0 == *piece) {
                Some(place) => {
                    self.asked += usize::from(*stripes == self.stripes);
                    running.push(self.reader.clone().fetch(*place, stripes.clone()));
                }
                None => self.target = self.reader.required(),
            }
        }
        self.spare = self.order_spares(places);
        loop {
            while self.asked < self.target
                && let Some(place) = self.spare.pop_front()
            {
                self.asked += 1;
                running.push(self.reader.clone().fetch(place, self.stripes.clone()));
            }
            match tokio::time::timeout(HEDGE, running.next()).await {
                Ok(Some(fetched)) => self.take(fetched),
                Ok(None) => return Progress::Stuck,
                Err(_) => self.target = self.target.max(self.reader.required()).max(self.asked) + 1,
            }
            if let Some(progress) = self.progress() {
                return progress;
            }
        }
    }

    /// Whole pieces that are asked anyway are no spares. Data pieces come
    /// first, since they need no decoding, then the others at random.
    fn order_spares(&self, mut places: Vec<PiecePlace>) -> VecDeque<PiecePlace> {
        let whole = |place: &PiecePlace| self.wanted.get(&place.piece.0) == Some(&self.stripes);
        places.retain(|place| !whole(place));
        places.shuffle(&mut rand::rng());
        places.sort_by_key(|place| usize::from(place.piece.0) >= self.reader.required());
        places.into()
    }

    fn take(&mut self, fetched: Fetched) {
        let whole = fetched.stripes == self.stripes;
        match fetched.shares {
            // A part that was asked for first may come after the whole.
            Ok(shares)
                if self.good.get(&fetched.place.piece.0).is_some_and(|held| held.shares.len() > shares.len()) => {}
            Ok(shares) => {
                self.good.insert(fetched.place.piece.0, Shares { stripes: fetched.stripes, shares });
            }
            Err(error) => {
                tracing::debug!(node = fetched.place.node, %error, "a piece could not be read");
                self.reader.transfer.fleet.observe(fetched.place.node, false);
                self.asked -= usize::from(whole);
                self.target = self.target.max(self.reader.required());
            }
        }
    }

    fn progress(&self) -> Option<Progress> {
        if self.wanted.keys().all(|piece| self.has(*piece)) {
            return Some(Progress::Direct);
        }
        (self.whole_pieces().count() >= self.reader.required()).then_some(Progress::Decode)
    }

    fn has(&self, piece: u16) -> bool {
        let (wanted, good) = (self.wanted.get(&piece), self.good.get(&piece));
        match (wanted, good) {
            (Some(wanted), Some(good)) => good.stripes.start <= wanted.start && wanted.end <= good.stripes.end,
            _ => false,
        }
    }

    fn whole_pieces(&self) -> impl Iterator<Item = u16> {
        self.good.iter().filter(|(_, shares)| shares.stripes == self.stripes).map(|(piece, _)| *piece)
    }

    /// Computes the data shares that are wanted and missing.
    async fn decode(mut self) -> Result<Vec<u8>, TransferError> {
        let have: Vec<PieceNumber> = self.whole_pieces().take(self.reader.required()).map(PieceNumber).collect();
        let want: Vec<PieceNumber> =
            self.wanted.keys().filter(|piece| !self.has(**piece)).map(|piece| PieceNumber(*piece)).collect();
        let shares: Vec<Vec<Bytes>> = have.iter().map(|piece| self.good[&piece.0].shares.clone()).collect();
        let (coding, wanted) = (self.reader.layout.coding(), want.clone());
        let (stripes, share_bytes) = (self.stripes.len(), self.reader.layout.share_bytes());
        let computed = tokio::task::spawn_blocking(move || {
            let plan = Recovery::plan(coding, &have, &wanted)?;
            let mut recovered = vec![Vec::with_capacity(stripes); wanted.len()];
            for stripe in 0..stripes {
                let given: Vec<&[u8]> = shares.iter().map(|piece| &piece[stripe][..share_bytes]).collect();
                let mut out = vec![vec![0; share_bytes]; wanted.len()];
                plan.recover(&given, &mut out.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
                recovered.iter_mut().zip(out).for_each(|(piece, share)| piece.push(Bytes::from(share)));
            }
            Ok::<_, CodingError>(recovered)
        });
        let recovered = computed.await.map_err(|_| TransferError::Closing)?;
        let recovered = recovered.map_err(|error| self.reader.corrupt(error.to_string()))?;
        for (piece, shares) in want.into_iter().zip(recovered) {
            self.good.insert(piece.0, Shares { stripes: self.stripes.clone(), shares });
        }
        self.assemble()
    }

    /// The range's bytes out of its data shares.
    fn assemble(&self) -> Result<Vec<u8>, TransferError> {
        let mut bytes = Vec::with_capacity(self.range.len());
        let share = |stripe: u16, piece: PieceNumber| {
            let held = self.good.get(&piece.0)?;
            held.shares
                .get(usize::from(stripe.checked_sub(held.stripes.start)?))?
                .get(..self.reader.layout.share_bytes())
        };
        let copied = self.reader.layout.copy_range(self.range.clone(), share, &mut bytes);
        copied.map_err(|error| self.reader.corrupt(error.to_string()))?;
        Ok(bytes)
    }
}
