//! The contract with the database, and its SQL.
//!
//! Everything that must survive and be agreed upon: buckets, objects, bodies,
//! streams, segments, uploads, nodes, epochs. An operation is a struct with
//! what it needs; [`Metadata::write`] runs it in a transaction and returns
//! when that is durable, [`Metadata::read`] runs it on a snapshot. Operations
//! may be run again after a conflict, so they take nothing that cannot be
//! taken twice.
//!
//! Never decrypts, knows no S3 and no network. SQL stands nowhere else.
//!
//! What must hold, whatever the engine:
//! - taking a reference is an update that fails unless the thing is alive, in
//!   the same transaction as what refers to it;
//! - a segment's pieces change only together with its revision;
//! - a commit of pieces fails when the writer's lease is gone;
//! - the order of writes is a sequence assigned in the commit, never a clock.

mod audits;
mod bodies;
mod buckets;
mod checksums;
mod cluster;
mod codec;
mod copy;
mod damage;
mod dialect;
mod doors;
mod epochs;
mod garbage;
mod list;
mod merge;
mod nodes;
mod objects;
mod once;
mod postgres;
mod queue;
mod repairs;
mod schema;
mod segments;
mod sqlite;
mod standing;
mod strays;
mod streams;
#[cfg(test)]
pub(crate) mod suite;
mod synthetic;
mod tasks;
mod tokens;
mod tx;
mod uploads;

pub use audits::{
    AuditFailure, AuditRecord, Audited, AuditedPiece, AuditsRecorded, DropFollowUps, FAILURES_MAX, FOLLOW_UPS_MAX,
    FollowUp, ListAuditFailures, ListAudits, ListFollowUps, RecordAudits,
};
pub use bodies::{NewBody, PartRecord, Span};
pub use buckets::{BucketRow, CreateBucket, CreatedBucket, DeleteBucket, DeletedBucket, FindBucket, ListBuckets};
pub use cluster::{ClusterRow, FindCluster, OpenCluster};
pub use copy::{CopiedTable, CopyError, CopyProgress, CopyReport, CopySide, cancel, cluster_of, copy};
pub use damage::{DamageOf, ListDamage, RecordDamage};
pub use doors::{CloseDoor, ListDoors, RegisterDoor};
pub use epochs::{AcquireLease, Holder, Lease, ReleaseAllLeases, ReleaseLease, RenewLease};
pub use garbage::{
    CondemnPieces, CondemnedPiece, ForgetCondemned, MarkTrashed, NodesToTell, PiecesToPurge, PiecesToTrash,
    ReleaseGarbage,
};
pub use list::{ListObjects, ListUploads, ListedPage, ListedRow, ListedUpload, ListedUploads};
pub use merge::{CondemnOrphans, FindPlaces, MoveStreams, Orphans, ScanStreams, StreamPlace};
pub use nodes::{
    FindNode, LeavePlace, ListNodes, NodeRow, NodeSpace, NodeState, PlaceNode, ReadClock, RecordHello, RecordSeen,
    SeenNode,
};
pub use objects::{
    CommitObject, CommitShared, CopyObject, Current, DeleteObjects, FindObject, FindStreams, FoundObject, InlineStream,
    NewObject, ObjectContent, Refusal, SharedMember, Source, check_condition,
};
pub use once::{AskRun, AskedRun, ReadRun, TellRun};
pub use postgres::{PostgresAddress, PostgresOptions};
pub use queue::{
    CountRepairs, FinishRepairs, FinishedRepair, QueueRepairs, RenewRepairs, RepairCounts, RepairEnd, TakeRepairs,
    TakenRepair, WantedRepair,
};
pub use repairs::{ClaimSegment, IsDrained, LetGo, ListRolledBack, MarkCompared, ReplacePieces, ScanSegments};
pub use segments::{FindSegments, NewSegment, PiecePlace, SegmentRow};
pub use sqlite::SqliteOptions;
pub use standing::{ChangeNode, ChangeRefusal, NodeChange};
pub use strays::{
    CheckStrays, CondemnStrays, CondemnedOf, ForgetDeparted, ForgetStrays, MarkReclaimed, MarkStraysTrashed,
    NodesToCompare, OldestEpoch, Reprieve, StraysOf, StraysToPurge, StraysToTrash,
};
pub use streams::{Extent, NewStream, StreamContent, StreamRow};
pub use synthetic::{BLOCK_OBJECTS, Synthetic, SyntheticPlace, load_synthetic};
pub use tasks::{ReadTask, ReleaseTask, StoreTask, TakeTask, Task};
pub use tokens::{AcceptToken, CreateToken, JoinNode, JoinRefusal, ListTokens, RevokeToken, TokenRow};
pub use tx::{Metadata, MetadataError, Operation, Tx};
pub use uploads::{
    AbortUpload, CommitCopiedPart, CommitPart, CompleteObject, CreateMultipart, FindUpload, ListParts, NewPart,
    PartRow, UploadRow,
};
