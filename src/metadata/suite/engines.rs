//! The suite on every engine.

use std::sync::OnceLock;

use super::server::Server;
use super::{audits, lists, moves, random, reclaim, references_and_garbage_add_up, shared, volunteers};
use crate::metadata::*;

/// What a database needs for as long as it is used.
type Keep = Option<tempfile::TempDir>;

async fn sqlite() -> (Keep, Metadata) {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { path: folder.path().join("suite.db"), cache_kib: 1024, readers: 2 };
    let metadata = Metadata::open_sqlite(options).unwrap();
    (Some(folder), metadata)
}

async fn postgres() -> (Keep, Metadata) {
    (None, open(Server::shared(), &fresh().await).await)
}

/// A database with the schema and nothing in it, on the shared server.
pub(super) async fn fresh() -> String {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    static FIRST: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let first = FIRST.lock().await;
    if TEMPLATE.get().is_none() {
        let name = Server::shared().database(None);
        open(Server::shared(), &name).await.close().await;
        settle(&name).await;
        TEMPLATE.set(name).unwrap();
    }
    let name = Server::shared().database(TEMPLATE.get().map(String::as_str));
    drop(first);
    name
}

/// A database that somebody is connected to cannot be copied.
async fn settle(name: &str) {
    let count = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{name}'");
    while Server::shared().sql("postgres", &count) != "0" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub(super) async fn open(server: &Server, database: &str) -> Metadata {
    let mut options = PostgresOptions::new(PostgresAddress::parse(&server.url(database)).unwrap());
    options.connections = 8;
    Metadata::open_postgres(options).await.unwrap()
}

macro_rules! on_every_engine {
    ($($name:ident: $test:expr;)*) => {
        on_every_engine!(sqlite: $($name: $test;)*);
        on_every_engine!(postgres: $($name: $test;)*);
    };
    ($engine:ident: $($name:ident: $test:expr;)*) => {
        mod $engine {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                let (_keep, metadata) = super::$engine().await;
                $test(metadata).await;
            })*
        }
    };
}

/// Some random steps.
async fn steps(metadata: Metadata) {
    references_and_garbage_add_up(metadata, random::seed(), 300).await;
}

on_every_engine! {
    references_and_garbage: steps;
    references_and_garbage_again: steps;
    references_and_garbage_once_more: steps;
    references_and_garbage_for_the_last_time: steps;
    a_repair_is_overtaken_or_late: moves::a_repair_is_overtaken_or_late;
    a_node_is_drained_when_no_upload_can_reach_it: moves::a_node_is_drained_when_no_upload_can_reach_it;
    nodes_with_dead_pieces_are_named: moves::nodes_with_dead_pieces_are_named;
    a_lease_that_was_given_back_holds_nothing_up: moves::a_lease_that_was_given_back_holds_nothing_up;
    pages_give_what_is_there: lists::pages_give_what_is_there;
    tokens_are_good_once: volunteers::tokens_are_good_once;
    a_token_that_was_made_elsewhere_is_accepted_once: volunteers::a_token_that_was_made_elsewhere_is_accepted_once;
    nodes_change_as_they_may: volunteers::nodes_change_as_they_may;
    what_a_node_says_is_kept: volunteers::what_a_node_says_is_kept;
    a_node_that_goes_back_is_noticed: volunteers::a_node_that_goes_back_is_noticed;
    failures_are_kept_share_by_share: audits::failures_are_kept_share_by_share;
    verdicts_follow_from_the_record: audits::verdicts_follow_from_the_record;
    few_are_judged_when_all_fail_at_once: audits::few_are_judged_when_all_fail_at_once;
    open_questions_are_asked_again: audits::open_questions_are_asked_again;
    silence_on_one_share_is_a_refusal: audits::silence_on_one_share_is_a_refusal;
    workers_that_audit_at_once_add_up: audits::workers_that_audit_at_once_add_up;
    doors_are_known_for_a_while: volunteers::doors_are_known_for_a_while;
    a_task_is_one_process_s_until_its_lease_is_over: shared::a_task_is_one_process_s_until_its_lease_is_over;
    nearest_to_loss_comes_first: shared::nearest_to_loss_comes_first;
    what_a_dead_process_had_taken_comes_back: shared::what_a_dead_process_had_taken_comes_back;
    who_could_not_repair_leaves_it_to_others: shared::who_could_not_repair_leaves_it_to_others;
    the_oldest_leased_epoch_comes_first: reclaim::the_oldest_leased_epoch_comes_first;
    strays_wait_and_are_looked_for_again: reclaim::strays_wait_and_are_looked_for_again;
    nodes_are_compared_in_turn: reclaim::nodes_are_compared_in_turn;
    streams_move_or_stay: reclaim::streams_move_or_stay;
    orphans_go_as_they_were_seen: reclaim::orphans_go_as_they_were_seen;
    what_needs_nothing_leaves_the_queue: shared::what_needs_nothing_leaves_the_queue;
}
