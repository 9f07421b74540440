//! Small streams that arrive together share a segment, as transactions share
//! a group commit. Only complete and verified ones enter; one that loses its
//! condition fails alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::receive::SmallStream;
use super::{ObjectError, Objects};
use crate::metadata::{CommitPart, CommitShared, Extent, NewObject, Refusal, SharedMember, StreamContent};
use crate::transfer::{Plan, Reserved};

/// How long the first of a segment waits for others.
const WINDOW: Duration = Duration::from_millis(3);
/// Segments that are on their way at once; while as many are, the next one
/// goes on collecting.
const FLUSHES_MAX: usize = 4;
/// Streams in one segment, at most.
const MEMBERS_MAX: usize = 128;

/// What a small stream is for.
pub enum Owner {
    /// An object. Its content is filled in.
    Object(Box<NewObject>),
    /// A part. Its stream is filled in.
    Part(Box<CommitPart>),
}

type Outcome = Result<Result<(), Refusal>, ObjectError>;

struct Member {
    small: SmallStream,
    owner: Owner,
    reply: oneshot::Sender<Outcome>,
}

/// Collects small streams into segments. Cheap to clone.
#[derive(Clone)]
pub struct Packer {
    members: mpsc::Sender<Member>,
}

impl Packer {
    /// A collector, and what runs it once the objects are there.
    pub fn new() -> (Self, PackerTask) {
        let (members, queue) = mpsc::channel(1024);
        (Self { members }, PackerTask { queue })
    }

    /// Stores a small stream together with what it is for.
    pub async fn commit(&self, small: SmallStream, owner: Owner) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let closing = || ObjectError::Unavailable("the server is shutting down".into());
        self.members.send(Member { small, owner, reply }).await.map_err(|_| closing())?;
        outcome.await.map_err(|_| closing())?
    }
}

/// The collector's loop.
pub struct PackerTask {
    queue: mpsc::Receiver<Member>,
}

impl PackerTask {
    /// Runs until nobody can send any more.
    pub async fn run(mut self, objects: Objects) {
        let flushes = Arc::new(Semaphore::new(FLUSHES_MAX));
        let mut left = None;
        loop {
            let first = match left.take() {
                Some(member) => Some(member),
                None => self.queue.recv().await,
            };
            let Some(first) = first else { return };
            let Ok(flush) = flushes.clone().acquire_owned().await else { return };
            let plan = first.small.plan;
            let members = self.collect(first, &mut left).await;
            let objects = objects.clone();
            tokio::spawn(async move {
                objects.store_shared(plan, members).await;
                drop(flush);
            });
        }
    }

    /// Those who come within the window, as long as they fit into a segment of
    /// the first one's plan.
    async fn collect(&mut self, first: Member, left: &mut Option<Member>) -> Vec<Member> {
        let room = first.small.plan.segment_bytes();
        let mut used = first.small.sealed.len();
        let mut members = vec![first];
        let end = Instant::now() + WINDOW;
        while members.len() < MEMBERS_MAX
            && let Ok(Some(member)) = timeout_at(end, self.queue.recv()).await
        {
            if used + member.small.sealed.len() > room {
                *left = Some(member);
                break;
            }
            used += member.small.sealed.len();
            members.push(member);
        }
        members
    }
}

impl Objects {
    async fn store_shared(&self, plan: Plan, members: Vec<Member>) {
        let guard = self.epochs.begin();
        let mut ciphertext = Vec::with_capacity(members.iter().map(|member| member.small.sealed.len()).sum());
        let mut waiting: Vec<(oneshot::Sender<Outcome>, Reserved)> = Vec::with_capacity(members.len());
        let mut sharing = Vec::with_capacity(members.len());
        for Member { small, owner, reply } in members {
            let (segment_offset, length) = (ciphertext.len() as u32, small.sealed.len() as u32);
            ciphertext.extend_from_slice(&small.sealed);
            waiting.push((reply, small.reserved));
            sharing.push((small.stream, owner, segment_offset, length));
        }
        let outcomes = match self.transfer.store(plan, ciphertext, guard.epoch()).await {
            Err(error) => Err(ObjectError::from(error)),
            Ok(segment) => {
                let members = sharing
                    .into_iter()
                    .map(|(mut stream, owner, segment_offset, length)| {
                        let id = segment.segment;
                        let extent = Extent { stream_offset: 0, segment: id, segment_offset, length };
                        stream.content = StreamContent::Extents(vec![extent]);
                        match owner {
                            Owner::Object(object) => SharedMember::Object(*object, stream),
                            Owner::Part(part) => SharedMember::Part(CommitPart { stream: Some(stream), ..*part }),
                        }
                    })
                    .collect();
                let commit = CommitShared { segment, members, lease: guard.lease() };
                self.metadata.write(commit).await.map_err(ObjectError::from)
            }
        };
        match outcomes {
            Ok(outcomes) => waiting.into_iter().zip(outcomes).for_each(|((reply, _), outcome)| {
                let _ = reply.send(Ok(outcome));
            }),
            Err(error) => waiting.into_iter().for_each(|(reply, _)| {
                let _ = reply.send(Err(error.again()));
            }),
        }
    }
}
