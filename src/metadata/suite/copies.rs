//! The metadata moves from one database to another and back, cut off and taken
//! up again at any moment: nothing is lost, nobody uses two of them at once,
//! and there is always a way out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;

use super::engines::{fresh, open};
use super::server::Server;
use super::together::{etag_of, small};
use super::{Model, furnish, random};
use crate::metadata::copy::{DESCRIPTIONS, FENCED_AWAY, Kind, TABLES, param, read_standing};
use crate::metadata::dialect::{Lock, Sequence};
use crate::metadata::tx::{Param, Value};
use crate::metadata::*;
use crate::types::{ClusterId, Generation, TokenId, WriteCondition};

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 32]);

fn sqlite(folder: &Path, name: &str) -> CopySide {
    let options = SqliteOptions { path: folder.join(name), cache_kib: 1024, readers: 2 };
    CopySide { metadata: Metadata::open_sqlite(options).unwrap(), place: name.to_owned() }
}

async fn postgres() -> CopySide {
    let place = fresh().await;
    CopySide { metadata: open(Server::shared(), &place).await, place }
}

async fn generation(side: &CopySide) -> Result<Generation, String> {
    let opened = side.metadata.write(OpenCluster { cluster: CLUSTER }).await;
    opened.map(|row| row.generation).map_err(|error| error.to_string())
}

async fn copy_now(from: &CopySide, to: &CopySide) -> Result<CopyReport, String> {
    copy(from, to, &watch::Sender::default()).await.map_err(|error| error.to_string())
}

/// Whether a gateway could run on it; without claiming it, as a gateway would.
struct InUse;

impl Operation for InUse {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        Ok(read_standing(tx, Lock::None).await?.is_some_and(|standing| standing.refusal().is_none()))
    }
}

/// Copies, and is cut off a few times before.
async fn copy_in_pieces(from: &CopySide, to: &CopySide, dice: &mut impl Rng) -> CopyReport {
    for _ in 0..dice.random_range(2..9) {
        let limit = Duration::from_millis(dice.random_range(1..250));
        if let Ok(report) = tokio::time::timeout(limit, copy_now(from, to)).await {
            return report.unwrap();
        }
        let in_use = [from.metadata.read(InUse).await.unwrap(), to.metadata.read(InUse).await.unwrap()];
        assert_ne!(in_use, [true; 2], "both can be used");
    }
    copy_now(from, to).await.unwrap()
}

/// Everything that a copy takes along.
struct Dump {
    in_use: bool,
}

impl Operation for Dump {
    type Output = (BTreeMap<&'static str, Vec<Vec<Value>>>, [u64; 2]);

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        let mut tables = BTreeMap::new();
        for table in TABLES.iter() {
            let sql = table.rows.replace(FENCED_AWAY, if self.in_use { "buckets" } else { FENCED_AWAY });
            let (start, end) = (table.start(), table.end());
            let params: Vec<Param<'_>> = start.iter().chain(&end).map(param).chain([Param::Int(1 << 40)]).collect();
            let rows = tx.query(sql.leak(), &params).await?;
            tables.insert(table.name, rows.into_iter().map(|row| row.0).collect());
        }
        Ok((tables, [tx.drawn(Sequence::Object).await?, tx.drawn(Sequence::Garbage).await?]))
    }
}

/// After a move the source is as the target, and nobody uses it any more.
async fn check(from: &CopySide, to: &CopySide, wanted: u64) {
    let (left, there) =
        (from.metadata.read(Dump { in_use: false }).await, to.metadata.read(Dump { in_use: true }).await);
    let ((left, left_drawn), (there, there_drawn)) = (left.unwrap(), there.unwrap());
    assert!(left["objects"].len() > 2000 && !left["segments"].is_empty() && !left["tokens"].is_empty());
    for (table, rows) in &left {
        assert!(rows == &there[table], "{table} differs");
    }
    assert!(left_drawn.iter().zip(&there_drawn).all(|(left, there)| there >= left), "{left_drawn:?} {there_drawn:?}");
    assert_eq!(generation(to).await, Ok(Generation(wanted)));
    let refusal = generation(from).await.unwrap_err();
    assert!(refusal.contains("moved to") && refusal.contains(&to.place), "{refusal}");
    let bucket = crate::types::BucketName::new("suite").unwrap();
    assert!(from.metadata.read(FindBucket { name: bucket }).await.is_err(), "what is read there may be old");
    assert!(from.metadata.write(small("late", "etag".into(), WriteCondition::default())).await.is_err());
    // Once more changes nothing.
    let again = copy_now(from, to).await.unwrap();
    assert_eq!((again.generation, again.tables.len()), (Generation(wanted), 0));
}

async fn fill(side: &CopySide, rows: usize) {
    side.metadata.write(OpenCluster { cluster: CLUSTER }).await.unwrap();
    furnish(&side.metadata).await;
    let all = (0..rows).map(|number| {
        let metadata = side.metadata.clone();
        tokio::spawn(async move {
            metadata.write(small(&format!("many-{number}"), number.to_string(), WriteCondition::default())).await
        })
    });
    for put in all.collect::<Vec<_>>() {
        put.await.unwrap().unwrap().unwrap();
    }
    let (token, secret_digest) = (TokenId::from_bytes([3; 16]), [4; 32]);
    let labels = BTreeMap::new();
    side.metadata.write(CreateToken { token, secret_digest, good_for_ms: None, uses: Some(2), labels }).await.unwrap();
    let register = RegisterDoor { holder: Holder([5; 16]), addresses: vec!["a:1".into()] };
    side.metadata.write(register).await.unwrap();
}

/// Goes on with the model on another database.
async fn go_on(model: &mut Model, side: &CopySide, steps: usize) {
    model.metadata = side.metadata.clone();
    let doors = side.metadata.read(ListDoors { within_ms: 1 << 40 }).await.unwrap();
    assert!(doors.is_empty() || model.lease.epoch.0 == 1, "who ran on it runs on it no more");
    model.lease.epoch = side.metadata.write(AcquireLease { holder: model.lease.holder }).await.unwrap();
    for _ in 0..steps {
        model.step().await;
    }
    model.audit(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_and_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (sqlite(folder.path(), "one.db"), postgres().await);
    fill(&one, 2500).await;
    let mut model = Model::new(one.metadata.clone(), random::seed()).await;
    go_on(&mut model, &one, 150).await;
    for (turn, (from, to)) in [(&one, &two), (&two, &one), (&one, &two)].into_iter().enumerate() {
        let report = copy_in_pieces(from, to, &mut model.dice).await;
        assert!(report.tables.len() == TABLES.len() || report.tables.is_empty());
        check(from, to, turn as u64 + 2).await;
        let before = to.metadata.read(Dump { in_use: true }).await.unwrap().1;
        go_on(&mut model, to, 80).await;
        let late = small("late", "later".into(), WriteCondition::default());
        to.metadata.write(late).await.unwrap().unwrap();
        assert!(to.metadata.read(Dump { in_use: true }).await.unwrap().1[0] > before[0], "sequences go on");
    }
    model.clear().await;
}

/// Gateways that run on a database when it is moved hear of it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_meanwhile_is_stopped_and_loses_nothing() {
    let (one, two) = (postgres().await, postgres().await);
    fill(&one, 100).await;
    let writers = (0..4).map(|writer| {
        let place = one.place.clone();
        tokio::spawn(async move {
            let gateway = open(Server::shared(), &place).await;
            let mut done = Vec::new();
            for number in 0.. {
                let key = format!("key-{writer}-{number}");
                match gateway.write(small(&key, number.to_string(), WriteCondition::default())).await {
                    Ok(outcome) => outcome.unwrap(),
                    Err(error) => {
                        assert!(
                            matches!(&error, MetadataError::Unavailable(why) if why.contains("moved")),
                            "{error:?}"
                        );
                        return done;
                    }
                }
                done.push((key, number.to_string()));
            }
            done
        })
    });
    let writers: Vec<_> = writers.collect();
    while etag_of(&one.metadata, "key-3-20").await.is_none() {
        tokio::task::yield_now().await;
    }
    copy_now(&one, &two).await.unwrap();
    for writer in writers {
        for (key, etag) in writer.await.unwrap() {
            assert_eq!(etag_of(&two.metadata, &key).await, Some(etag), "{key} is lost");
        }
    }
}

/// Lines to the server break again and again, and a commit may have been lost
/// or not: the copy goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_break_do_not_end_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (sqlite(folder.path(), "one.db"), postgres().await);
    fill(&one, 2500).await;
    Model::new(one.metadata.clone(), random::seed()).await.put().await;
    let copying = async { copy_now(&one, &two).await.unwrap() };
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        two.place
    );
    let killing = async {
        for _ in 0..12 {
            let kill = kill.clone();
            tokio::task::spawn_blocking(move || Server::shared().sql("postgres", &kill)).await.unwrap();
        }
    };
    let (report, ()) = tokio::join!(copying, killing);
    assert_eq!(report.generation, Generation(2));
    check(&one, &two, 2).await;
}

/// Who takes the source back while a copy is made of it, because its target
/// was said to be gone, keeps that copy from being finished.
#[tokio::test]
async fn a_copy_of_what_was_taken_back_is_not_finished() {
    let (one, two) = (postgres().await, postgres().await);
    fill(&one, 10).await;
    let (progress, mut heard) = watch::channel(CopyProgress::default());
    let taking_back = async {
        heard.wait_for(|progress| progress.verifying).await.unwrap();
        cancel(&one, None).await.unwrap()
    };
    let (copied, was_fenced) = tokio::join!(copy(&one, &two, &progress), taking_back);
    assert!(was_fenced && copied.is_err(), "{copied:?}");
    assert_eq!(generation(&one).await, Ok(Generation(3)));
    assert!(generation(&two).await.is_err());
}

#[tokio::test]
async fn a_move_that_was_not_finished_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, three) = (sqlite(folder.path(), "one.db"), postgres().await, sqlite(folder.path(), "three.db"));
    fill(&one, 10).await;
    assert_eq!(cancel(&one, Some(&two)).await.ok(), Some(false), "there is nothing to take back");
    // The source is fenced, and a page later the copy is cut off.
    let cut = async |from: &CopySide, to: &CopySide| {
        let (progress, mut heard) = watch::channel(CopyProgress::default());
        tokio::select! {
            biased;
            _ = heard.wait_for(|progress| progress.table == "nodes") => {}
            _ = copy(from, to, &progress) => panic!("it was to be cut off"),
        }
    };
    cut(&one, &two).await;
    assert!(generation(&one).await.is_err() && generation(&two).await.unwrap_err().contains("not complete"));
    assert!(copy_now(&one, &three).await.unwrap_err().contains(&two.place), "only where it began");
    assert!(cancel(&one, Some(&three)).await.is_err());
    assert!(copy_now(&two, &three).await.unwrap_err().contains("not complete"));
    assert_eq!(cancel(&one, Some(&two)).await.ok(), Some(true));
    assert_eq!(generation(&one).await, Ok(Generation(1)));
    assert!(generation(&two).await.is_err());
    assert_eq!(etag_of(&one.metadata, "many-3").await.as_deref(), Some("3"));

    // Where the target is gone, nodes will refuse what comes of it.
    cut(&one, &two).await;
    assert_eq!(cancel(&one, None).await.ok(), Some(true));
    assert_eq!(generation(&one).await, Ok(Generation(3)));
    assert!(copy_now(&one, &two).await.unwrap_err().contains("part of a copy"));

    assert_eq!(copy_now(&one, &three).await.unwrap().generation, Generation(4));
    let error = cancel(&one, Some(&three)).await.unwrap_err().to_string();
    assert!(error.contains("is complete"), "{error}");
    assert!(generation(&one).await.is_err() && generation(&three).await.is_ok());
}

/// What fails because a disk is full goes on when there is room.
#[tokio::test]
async fn a_disk_that_is_full_is_said_and_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (sqlite(folder.path(), "one.db"), postgres().await);
    fill(&one, 1500).await;
    let server = Server::shared();
    let full = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '53100'; END $$; \
                CREATE TRIGGER fail BEFORE INSERT ON objects FOR EACH ROW \
                WHEN (NEW.key = CAST('many-999' AS BYTEA)) EXECUTE FUNCTION fail()";
    server.sql(&two.place, full);
    let error = copy_now(&one, &two).await.unwrap_err();
    assert!(error.contains("is full: make room") && error.contains(&two.place), "{error}");
    server.sql(&two.place, "DROP TRIGGER fail ON objects");
    let report = copy_now(&one, &two).await.unwrap();
    assert!(report.rows_written < 700, "the first page was there already: {report:?}");
    assert_eq!(generation(&two).await, Ok(Generation(2)));
}

#[tokio::test]
async fn a_target_with_anything_in_it_is_refused_and_the_source_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, empty) = (sqlite(folder.path(), "one.db"), postgres().await, postgres().await);
    fill(&one, 3).await;
    two.metadata.write(OpenCluster { cluster: ClusterId::from_bytes([8; 32]) }).await.unwrap();
    let other = copy_now(&one, &two).await.unwrap_err();
    assert!(other.contains("another cluster") && other.contains(&two.place), "{other}");
    let third = sqlite(folder.path(), "third.db");
    third.metadata.write(OpenCluster { cluster: CLUSTER }).await.unwrap();
    assert!(copy_now(&one, &third).await.unwrap_err().contains("in use by this cluster"));
    assert!(copy_now(&one, &one).await.unwrap_err().contains("in use by this cluster"));
    assert!(copy_now(&empty, &third).await.unwrap_err().contains("no metadata"));
    assert_eq!(generation(&one).await, Ok(Generation(1)));
    assert_eq!(generation(&third).await, Ok(Generation(1)));

    // Back to where it came from is fine; to where it was before that, too.
    assert_eq!(copy_now(&one, &empty).await.unwrap().generation, Generation(2));
    let next = postgres().await;
    assert_eq!(copy_now(&empty, &next).await.unwrap().generation, Generation(3));
    assert!(copy_now(&one, &empty).await.unwrap_err().contains("not older"));
    assert_eq!(copy_now(&next, &one).await.unwrap().generation, Generation(4));
}

/// What a copy leaves behind: who runs on the database now, what commits have
/// left for those who ask, the row that the copy itself keeps, the version.
const LEFT_OUT: [&str; 6] = ["cluster", "commits", "doors", "leases", "schema_version", "tasks"];

/// A table or a column that is new has to be described.
#[tokio::test]
async fn the_whole_schema_is_described() {
    let described: BTreeSet<String> = DESCRIPTIONS
        .iter()
        .flat_map(|table| {
            let key = (1..).zip(table.key).map(|(place, column)| (place, *column));
            let all = key.chain(table.rest.iter().map(|column| (0, *column)));
            all.map(|(place, (column, kind))| format!("{}|{column}|{place}|{}", table.name, kind == Kind::Int))
        })
        .collect();
    let known = |line: &String| !LEFT_OUT.contains(&line.split('|').next().unwrap());

    let folder = tempfile::tempdir().unwrap();
    sqlite(folder.path(), "one.db");
    let file = rusqlite::Connection::open(folder.path().join("one.db")).unwrap();
    let sql = "SELECT t.name || '|' || c.name || '|' || c.pk || '|' || iif(c.type = 'INTEGER', 'true', 'false') \
               FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
    let mut statement = file.prepare(sql).unwrap();
    let found: Result<Vec<String>, _> = statement.query_map([], |row| row.get(0)).unwrap().collect();
    let found: BTreeSet<String> = found.unwrap().into_iter().filter(known).collect();
    assert_eq!(found, described);

    let sql = "SELECT c.table_name, c.column_name, COALESCE(k.ordinal_position, 0), c.data_type = 'bigint' \
               FROM information_schema.columns c LEFT JOIN information_schema.key_column_usage k \
               ON k.table_name = c.table_name AND k.column_name = c.column_name \
               AND k.constraint_name = c.table_name || '_pkey' WHERE c.table_schema = 'public'";
    let found = Server::shared().sql(&fresh().await, sql).replace("|t\n", "|true\n").replace("|f\n", "|false\n");
    let found = found.strip_suffix("|t").map_or(found.clone(), |rest| format!("{rest}|true"));
    let found = found.strip_suffix("|f").map_or(found.clone(), |rest| format!("{rest}|false"));
    let sequences = |line: &String| !line.contains("_sequence|");
    let found: BTreeSet<String> = found.lines().map(str::to_owned).filter(known).filter(sequences).collect();
    assert_eq!(found, described);
}
