//! Pieces to and from a node, for whoever holds [`Nodes`].
//!
//! All requests may be repeated safely. Dropping a future gives the request
//! up: its connection is closed, the node forgets what it had of the piece.

use std::ops::Range;

use bytes::Bytes;

use super::connection::{Expect, Reply};
use super::{NodeError, Nodes};
use crate::types::limits::{INVENTORY_PAGE_MAX, JSON_REPLY_BYTES_MAX, PIECE_BYTES_MAX, PIECE_LIST_MAX};
use crate::types::{Epoch, NodeId, PieceId};
use crate::wire::{
    Changed, InventoryEntry, ListAction, Request, Standing, Usage, decode_ids, decode_inventory, encode_ids,
};

const SMALL: Expect = Expect::AtMost(JSON_REPLY_BYTES_MAX);

impl Nodes {
    /// Stores a piece; durable on the node when this returns.
    pub async fn put_piece(&self, node: NodeId, id: PieceId, epoch: Epoch, body: Bytes) -> Result<(), NodeError> {
        if body.len() > PIECE_BYTES_MAX {
            return Err(NodeError::Refused(format!("a piece has at most {PIECE_BYTES_MAX} bytes")));
        }
        let request = Request::Put { id, epoch, length: body.len() };
        self.call(node, &request, body, SMALL).await.map(drop)
    }

    /// Reads exactly `range` of a piece, as fast as it comes, into one buffer.
    pub async fn get_piece(&self, node: NodeId, id: PieceId, range: Range<u64>) -> Result<Bytes, NodeError> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 || length > PIECE_BYTES_MAX as u64 {
            return Err(NodeError::Refused(format!("a range has 1 to {PIECE_BYTES_MAX} bytes")));
        }
        let expect = Expect::Exactly(length as usize);
        let reply = self.call(node, &Request::Get { id, range }, Bytes::new(), expect).await?;
        Ok(reply.body)
    }

    /// Moves pieces to the node's trash, where they stay readable. Those that
    /// are there already, or are unknown to the node, are passed over.
    pub async fn trash(&self, node: NodeId, ids: &[PieceId]) -> Result<(), NodeError> {
        self.list(node, ListAction::Trash, ids).await
    }

    /// Moves pieces back from the trash.
    pub async fn restore(&self, node: NodeId, ids: &[PieceId]) -> Result<(), NodeError> {
        self.list(node, ListAction::Restore, ids).await
    }

    /// Deletes pieces from the trash for good.
    pub async fn purge(&self, node: NodeId, ids: &[PieceId]) -> Result<(), NodeError> {
        self.list(node, ListAction::Purge, ids).await
    }

    /// The node's space, as it is now.
    pub async fn usage(&self, node: NodeId) -> Result<Usage, NodeError> {
        let reply = self.call(node, &Request::Usage, Bytes::new(), SMALL).await?;
        let usage = Usage::decode(&reply.body).map_err(nonsense)?;
        if let Some(member) = self.registry.get(node) {
            member.set_usage(usage);
        }
        Ok(usage)
    }

    /// A page of the pieces that the node holds, ascending by id: those after
    /// `after`, at most `limit` (1 to 10,000). Fewer than `limit` are the last.
    pub async fn inventory(
        &self,
        node: NodeId,
        after: Option<PieceId>,
        limit: usize,
    ) -> Result<Vec<InventoryEntry>, NodeError> {
        let limit = limit.clamp(1, INVENTORY_PAGE_MAX);
        let reply =
            self.call(node, &Request::Inventory { after, limit }, Bytes::new(), Expect::AtMost(limit * 64)).await?;
        let entries = decode_inventory(&reply.body).map_err(nonsense)?;
        if entries.len() > limit || after.is_some_and(|after| entries.first().is_some_and(|entry| entry.id <= after)) {
            return Err(NodeError::Broken("the node's inventory is not the page that was asked for".to_owned()));
        }
        Ok(entries)
    }

    /// A page of the pieces that the node knows it has lost or that its disk
    /// changed, ascending: those after `after`, at most `limit` (1 to 10,000).
    pub async fn damaged(&self, node: NodeId, after: Option<PieceId>, limit: usize) -> Result<Vec<PieceId>, NodeError> {
        let limit = limit.clamp(1, INVENTORY_PAGE_MAX);
        let expect = Expect::AtMost(limit * PieceId::BYTES);
        let reply = self.call(node, &Request::Damaged { after, limit }, Bytes::new(), expect).await?;
        let ids = decode_ids(&reply.body).map_err(nonsense)?;
        match ids.is_sorted_by(|one, next| one < next) && ids.first().is_none_or(|id| Some(*id) > after) {
            true => Ok(ids),
            false => Err(NodeError::Broken("the node's list of damaged pieces is not what was asked for".to_owned())),
        }
    }

    /// A page of the pieces that the node holds and that are not as `known`
    /// ([`Known`](crate::wire::Known), encoded) says, ascending by id: those
    /// after `after`, at most `limit` (1 to 10,000). Fewer than `limit` are the
    /// last. Pieces that nobody knows of are of an epoch before `before`.
    pub async fn strays(
        &self,
        node: NodeId,
        known: Bytes,
        before: Epoch,
        after: Option<PieceId>,
        limit: usize,
    ) -> Result<Vec<InventoryEntry>, NodeError> {
        let limit = limit.clamp(1, INVENTORY_PAGE_MAX);
        let request = Request::Strays { after, limit, before, length: known.len() };
        let reply = self.call(node, &request, known, Expect::AtMost(limit * 64)).await?;
        let entries = decode_inventory(&reply.body).map_err(nonsense)?;
        if entries.len() > limit || after.is_some_and(|after| entries.first().is_some_and(|entry| entry.id <= after)) {
            return Err(NodeError::Broken("the node's list of strays is not the page that was asked for".to_owned()));
        }
        Ok(entries)
    }

    /// Tells the node how it stands with the operator.
    pub async fn tell_standing(&self, node: NodeId, standing: &Standing) -> Result<(), NodeError> {
        let body = Bytes::from(standing.encode());
        self.call(node, &Request::Standing { length: body.len() }, body, SMALL).await.map(drop)
    }

    async fn list(&self, node: NodeId, action: ListAction, ids: &[PieceId]) -> Result<(), NodeError> {
        for ids in ids.chunks(PIECE_LIST_MAX) {
            let body = Bytes::from(encode_ids(ids));
            let reply = self.call(node, &Request::List { action, length: body.len() }, body, SMALL).await?;
            Changed::decode(&reply.body).map_err(nonsense)?;
        }
        Ok(())
    }

    async fn call(&self, node: NodeId, request: &Request, body: Bytes, expect: Expect) -> Result<Reply, NodeError> {
        let member = self.registry.get(node).ok_or(NodeError::Offline)?;
        member.request(request, body, expect, &self.registry.tuning).await
    }
}

fn nonsense(error: impl ToString) -> NodeError {
    NodeError::Broken(error.to_string())
}
