//! Nodes that are asked for shares: what is found, what follows from it, and
//! what does not.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::audit::Verdict;

/// Changes one byte at each of these places of a folder's first log.
fn flip(dir: &Path, places: impl IntoIterator<Item = u64>) {
    let log = std::fs::read_dir(dir.join("logs")).unwrap().next().unwrap().unwrap().path();
    let file = OpenOptions::new().read(true).write(true).open(log).unwrap();
    for at in places {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
    }
}

/// Where each piece's body begins in a folder's first log, by its id.
fn bodies(dir: &Path) -> BTreeMap<PieceId, u64> {
    let log = std::fs::read_dir(dir.join("logs")).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(log).unwrap();
    let mut bodies = BTreeMap::new();
    for at in 0..bytes.len().saturating_sub(64) {
        if bytes[at..].starts_with(&[0xC1, b'R', b'E', b'C', 1, 2]) {
            bodies.insert(PieceId::from_bytes(*bytes[at + 8..].first_chunk().unwrap()), at as u64 + 64);
        }
    }
    bodies
}

/// Bytes of a full share and its MAC.
const RECORD: u64 = 65_568;

impl Town {
    /// Asks for a full pass, and goes on until it has ended.
    async fn once(&mut self, audit_all: bool) -> WorkerReport {
        let asked = ask_once(&self.metadata, &Env::real(), audit_all).await.unwrap();
        let begun = Instant::now();
        loop {
            let view = last_once(&self.metadata).await.unwrap().unwrap();
            assert_eq!(view.run, asked.run);
            if view.done {
                return view.report;
            }
            assert!(begun.elapsed() < 3 * SOON, "{view:?}");
            self.step().await;
        }
    }

    async fn verdict(&self, at: usize) -> Verdict {
        self.metadata.read(FindNode { node: self.nodes[at].id }).await.unwrap().unwrap().verdict
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_share_is_checked_and_each_that_was_changed_is_found_and_made_good() {
    let mut town = Town::new(5, "2/2/3/4").await;
    town.put(4).await;
    town.settle().await;
    let rows = town.segments().await;
    let report = town.once(true).await;
    let shares: u64 = rows
        .iter()
        .map(|row| {
            let layout = crate::segment::Layout::from_bytes(&row.layout).unwrap();
            u64::from(layout.stripes()) * row.pieces.len() as u64
        })
        .sum();
    assert_eq!((report.shares_checked, report.shares_wrong, report.pieces_repaired), (shares, 0, 0));
    assert_eq!((report.segments, report.by_node.len()), (rows.len() as u64, 0));

    // Two shares of each of the second node's pieces.
    let bodies = bodies(town.nodes[1].dir());
    let listed: Vec<PieceId> = rows
        .iter()
        .flat_map(|row| row.pieces.iter().filter(|place| place.node == 2).map(|place| (row.segment, *place)))
        .map(|(segment, place)| town.transfer.piece_id(segment, &place).unwrap())
        .collect();
    assert!(!listed.is_empty());
    flip(town.nodes[1].dir(), listed.iter().flat_map(|id| [bodies[id] + 100, bodies[id] + 5 * RECORD + 100]));
    // One is known already: it is asked for all the same, and does not weigh in the record again.
    town.metadata.write(RecordDamage { node: 2, pieces: vec![listed[0]] }).await.unwrap();
    town.health.watch().add_damaged(2, [listed[0]]);
    let report = town.once(true).await;
    let all = listed.len() as u64;
    let (wrong, pieces) = (report.shares_wrong, report.pieces_wrong);
    // A pass before this one, which draws shares, may have met one of them first.
    assert!(wrong == 2 * pieces && (1..=all).contains(&pieces), "{all} {report:?}");
    assert_eq!(report.by_node.keys().collect::<Vec<_>>(), [&town.nodes[1].id.to_string()]);
    assert!(report.pieces_repaired >= pieces, "{report:?}");
    assert_eq!((report.segments_degraded, report.segments_lost, report.segments_waiting), (0, 0, 0), "{report:?}");
    let failures = town.metadata.read(ListAuditFailures { node: 2 }).await.unwrap();
    let kept: BTreeSet<_> = failures.iter().map(|failure| failure.segment).collect();
    // The one that was known may have been made anew before it was asked for.
    assert!(kept.len() as u64 + 1 >= all && failures.len() as u64 >= wrong, "{all} {failures:?}");
    assert!(failures.iter().all(|failure| [0, 5].contains(&failure.stripe)));
    let report = town.once(true).await;
    assert_eq!((report.shares_wrong, report.pieces_repaired), (0, 0), "what was made anew is right: {report:?}");
    town.check().await;
    town.close().await;
}

/// Every piece has a bad share, each in another stripe: none is whole, and yet
/// of every stripe enough are good.
#[tokio::test(flavor = "multi_thread")]
async fn shares_that_are_wrong_everywhere_cost_nothing_while_each_stripe_has_enough() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(2).await;
    town.settle().await;
    let rows = town.segments().await;
    for (at, node) in town.nodes.iter().enumerate() {
        let places = rows.iter().flat_map(|row| row.pieces.iter().map(move |place| (row, place)));
        let bodies = bodies(node.dir());
        let mine = places.filter(|(_, place)| place.node == at as u32 + 1);
        flip(
            node.dir(),
            mine.map(|(row, place)| {
                let id = town.transfer.piece_id(row.segment, place).unwrap();
                bodies[&id] + u64::from(place.piece.0) * RECORD + 9
            }),
        );
    }
    let report = town.once(true).await;
    let pieces: u64 = rows.iter().map(|row| row.pieces.len() as u64).sum();
    // Repair may have made a piece anew before it was asked for.
    assert!((1..=pieces).contains(&report.pieces_wrong), "{report:?}");
    assert_eq!(report.shares_wrong, report.pieces_wrong, "each has one");
    town.check().await;
    assert_eq!((report.segments_lost, report.segments_unreadable, report.segments_degraded), (0, 0, 0), "{report:?}");
    let report = town.once(true).await;
    assert_eq!(report.shares_wrong, 0, "{report:?}");
    town.check().await;
    town.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_keeps_nothing_is_disqualified_and_its_pieces_are_made_anew() {
    let mut town = Town::new(6, "2/2/3/4").await;
    town.put(45).await;
    town.settle().await;
    let victim = (0..6).max_by_key(|at| town.nodes[*at].store().inventory(None, 1000).len()).unwrap();
    assert!(town.listed(victim).await > 26, "so many audits take its standing");
    let ids: Vec<PieceId> = town.nodes[victim].store().inventory(None, 1000).into_iter().map(|(id, _)| id).collect();
    // It says nothing of it, and nobody but it can know.
    town.nodes[victim].store().trash(&ids).await.unwrap();
    town.nodes[victim].store().purge(&ids).await.unwrap();
    let report = town.once(true).await;
    assert_eq!(town.verdict(victim).await, Verdict::Disqualified, "{report:?}");
    assert_eq!(report.pieces_missing, report.by_node[&town.nodes[victim].id.to_string()].pieces_missing);
    assert_eq!((report.segments_degraded, report.segments_lost), (0, 0), "{report:?}");
    town.settle().await;
    assert_eq!(town.listed(victim).await, 0, "nothing is left on it, and nothing new was placed there");
    let row = town.metadata.read(FindNode { node: town.nodes[victim].id }).await.unwrap().unwrap();
    assert!(row.reason.unwrap().starts_with("audits: it failed"));
    town.check().await;
    town.close().await;
}

/// Passes draw shares by themselves, and a node that is away is not blamed.
#[tokio::test(flavor = "multi_thread")]
async fn shares_are_drawn_in_every_pass_and_who_is_away_has_failed_nothing() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(3).await;
    town.settle().await;
    town.stop(3).await;
    let begun = Instant::now();
    let records = async |town: &Town| town.metadata.read(ListAudits).await.unwrap();
    while records(&town).await.iter().filter(|audit| audit.record.audits >= 5).count() < 3 {
        assert!(begun.elapsed() < SOON, "{:?}", records(&town).await);
        town.step().await;
    }
    let audits = records(&town).await;
    assert!(audits.iter().all(|audit| audit.record.failed == 0), "{audits:?}");
    let before = audits.iter().find(|audit| audit.node == 4).map(|audit| audit.record.audits);
    town.settle().await;
    let after = records(&town).await.iter().find(|audit| audit.node == 4).map(|audit| audit.record.audits);
    assert_eq!(before, after, "a question that it left open as it went is not a failure");
    town.close().await;
}

/// A row that has changed makes every share look wrong: no node is to blame,
/// and nothing is overwritten.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_blamed_on_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("town.db");
    let open = || Metadata::open_sqlite(SqliteOptions { path: path.clone(), cache_kib: 1024, readers: 4 }).unwrap();
    let mut town = Town::of(Process::new(open(), "2/2/3/4").await).await;
    for _ in 0..4 {
        town.join().await;
    }
    town.put(1).await;
    town.settle().await;
    let before = town.segments().await;
    let metadata = &town.metadata;
    metadata.write(crate::metadata::suite::SpoilMacKey { segment: before[0].segment }).await.unwrap();
    let report = town.once(true).await;
    assert_eq!((report.pieces_wrong, report.pieces_repaired), (0, 0), "{report:?}");
    for at in 0..4 {
        assert_eq!(town.metadata.read(ListAuditFailures { node: at + 1 }).await.unwrap(), []);
    }
    let after = town.segments().await;
    assert_eq!(after[0].pieces, before[0].pieces, "its pieces are left as they are");
    town.close().await;
}

/// Fewer than k pieces are left: the segment is named, and what is left of it
/// is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_with_too_few_pieces_is_named_and_left_alone() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(2).await;
    town.settle().await;
    let rows = town.segments().await;
    let victim = &rows[0];
    for place in victim.pieces.iter().skip(1) {
        let id = town.transfer.piece_id(victim.segment, place).unwrap();
        let store = town.nodes[place.node as usize - 1].store();
        store.trash(&[id]).await.unwrap();
        store.purge(&[id]).await.unwrap();
    }
    let report = town.once(true).await;
    assert_eq!((report.segments_lost, report.lost.as_slice()), (1, &[victim.segment.to_string()][..]), "{report:?}");
    let after = town.segments().await;
    let kept = after.iter().find(|row| row.segment == victim.segment).unwrap();
    assert_eq!(kept.pieces, victim.pieces, "what is left of it is kept");
    let left = town.transfer.piece_id(victim.segment, &victim.pieces[0]).unwrap();
    assert!(town.nodes[victim.pieces[0].node as usize - 1].store().stat(&left).is_some());
    town.close().await;
}

/// Two who ask at once: one pass is made, and both hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_under_way_is_joined() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(1).await;
    let first = ask_once(&town.metadata, &Env::real(), true).await.unwrap();
    let second = ask_once(&town.metadata, &Env::real(), false).await.unwrap();
    assert_eq!((first.joined, second.joined, &second.run), (false, true, &first.run));
    let begun = Instant::now();
    while !last_once(&town.metadata).await.unwrap().unwrap().done {
        assert!(begun.elapsed() < SOON);
        town.step().await;
    }
    let third = ask_once(&town.metadata, &Env::real(), false).await.unwrap();
    assert!(!third.joined && third.run != first.run, "that one has ended");
    town.close().await;
}

/// The same, for readers: nobody has repaired anything yet.
#[tokio::test(flavor = "multi_thread")]
async fn shares_that_are_wrong_everywhere_are_read_around() {
    let mut town = Town::new(4, "2/2/3/4").await;
    town.put(2).await;
    let rows = town.segments().await;
    for (at, node) in town.nodes.iter().enumerate() {
        let bodies = bodies(node.dir());
        for row in &rows {
            let Some(place) = row.pieces.iter().find(|place| place.node == at as u32 + 1) else { continue };
            let id = town.transfer.piece_id(row.segment, place).unwrap();
            flip(node.dir(), [bodies[&id] + u64::from(place.piece.0) * RECORD + 9]);
        }
    }
    town.check().await;
    town.close().await;
}
