//! Join tokens: made by the operator, redeemed by nodes. Of a token's secret
//! only a digest is known here.

use std::collections::BTreeMap;

use super::codec::{decode_labels, encode_labels};
use super::dialect::Lock;
use super::nodes::{enlist, find_locked};
use super::tx::{MetadataError, Operation, Row, Tx, params};
use crate::types::{NodeId, TokenId, UnixMillis};

/// A join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// What the operator calls it.
    pub token: TokenId,
    /// When it was made.
    pub created: UnixMillis,
    /// When it stops being good, if ever.
    pub expires: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked: Option<UnixMillis>,
    /// How many nodes may join with it; any number if none.
    pub uses: Option<u32>,
    /// How many have.
    pub used: u32,
    /// What is said of every node that joins with it.
    pub labels: BTreeMap<String, String>,
}

fn token_row(row: &Row) -> Result<TokenRow, MetadataError> {
    let time = |column| Ok::<_, MetadataError>(row.maybe_u64(column)?.map(|time| UnixMillis(time as i64)));
    Ok(TokenRow {
        token: TokenId::from_bytes(row.array(0)?),
        created: UnixMillis(row.int(1)?),
        expires: time(2)?,
        revoked: time(3)?,
        uses: row.maybe_u64(4)?.map(|uses| uses as u32),
        used: row.u32(5)?,
        labels: decode_labels(row.bytes(6)?)?,
    })
}

/// Makes a token good.
pub struct CreateToken {
    /// Its name: random.
    pub token: TokenId,
    /// The SHA-256 of its secret.
    pub secret_digest: [u8; 32],
    /// For how many milliseconds of the database's clock; for good if none.
    pub good_for_ms: Option<u64>,
    /// How many nodes may join with it; any number if none.
    pub uses: Option<u32>,
    /// What is said of every node that joins with it.
    pub labels: BTreeMap<String, String>,
}

impl Operation for CreateToken {
    type Output = TokenRow;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<TokenRow, MetadataError> {
        let created = tx.now().await?;
        let expires = self.good_for_ms.map(|time| UnixMillis(created.0.saturating_add_unsigned(time)));
        let sql = "INSERT INTO tokens (token_id, secret_digest, created_ms, expires_ms, uses, used, labels) \
                   VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)";
        let labels = encode_labels(&self.labels);
        let (id, digest) = (self.token.as_bytes(), &self.secret_digest);
        tx.execute(sql, params![id, digest, created, expires, self.uses, &labels]).await?;
        let labels = self.labels.clone();
        Ok(TokenRow { token: self.token, created, expires, revoked: None, uses: self.uses, used: 0, labels })
    }
}

/// Makes a token good that was made elsewhere. One that is known stays as it is,
/// revoked or used up; none is answered where that one has another secret.
pub struct AcceptToken {
    /// Its name.
    pub token: TokenId,
    /// The SHA-256 of its secret.
    pub secret_digest: [u8; 32],
    /// When it stops being good by the database's clock, if ever.
    pub expires: Option<UnixMillis>,
    /// How many nodes may join with it; any number if none.
    pub uses: Option<u32>,
    /// What is said of every node that joins with it.
    pub labels: BTreeMap<String, String>,
}

impl Operation for AcceptToken {
    type Output = Option<TokenRow>;
    const IS_REPEATABLE: bool = true;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<TokenRow>, MetadataError> {
        let created = tx.now().await?;
        let insert = "INSERT INTO tokens (token_id, secret_digest, created_ms, expires_ms, uses, used, labels) \
                      VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6) ON CONFLICT (token_id) DO NOTHING";
        let labels = encode_labels(&self.labels);
        let (id, digest) = (self.token.as_bytes(), &self.secret_digest);
        tx.execute(insert, params![id, digest, created, self.expires, self.uses, &labels]).await?;
        let sql = "SELECT token_id, created_ms, expires_ms, revoked_ms, uses, used, labels FROM tokens \
                   WHERE token_id = ?1 AND secret_digest = ?2";
        tx.first(sql, params![id, digest]).await?.as_ref().map(token_row).transpose()
    }
}

/// All tokens, the newest first.
pub struct ListTokens;

impl Operation for ListTokens {
    type Output = Vec<TokenRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<TokenRow>, MetadataError> {
        let sql = "SELECT token_id, created_ms, expires_ms, revoked_ms, uses, used, labels FROM tokens \
                   ORDER BY created_ms DESC, token_id";
        tx.query(sql, &[]).await?.iter().map(token_row).collect()
    }
}

/// Makes a token worthless. Nodes that joined with it stay. Answers whether
/// there is such a token.
pub struct RevokeToken {
    /// Which.
    pub token: TokenId,
}

impl Operation for RevokeToken {
    type Output = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, MetadataError> {
        let now = tx.now().await?;
        let sql = "UPDATE tokens SET revoked_ms = COALESCE(revoked_ms, ?2) WHERE token_id = ?1";
        Ok(tx.execute(sql, params![self.token.as_bytes(), now]).await? == 1)
    }
}

/// Why a node may not join with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// No such token, or another secret.
    #[error("this token is not one of this cluster's: ask the operator for a new one")]
    Unknown,
    /// Its time is over.
    #[error("this token has expired: ask the operator for a new one")]
    Expired,
    /// The operator has taken it back.
    #[error("this token was revoked: ask the operator for a new one")]
    Revoked,
    /// As many nodes have joined with it as may.
    #[error("this token is used up: ask the operator for a new one")]
    Used,
    /// This node has joined with it before, and has gone since.
    #[error("this node has joined with this token before and was given up or has left since: it needs a new token")]
    Again,
}

/// Lets a node join with a token, or take part again after it had gone.
/// A node that is a member stays one, whatever its token says.
pub struct JoinNode {
    /// The node.
    pub node: NodeId,
    /// The token's name.
    pub token: TokenId,
    /// The SHA-256 of the secret that the node has shown.
    pub secret_digest: [u8; 32],
}

impl Operation for JoinNode {
    type Output = Result<(), JoinRefusal>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Output, MetadataError> {
        // The token is locked first: whoever redeems it for the same node at the same time has then done so.
        let judged = self.judge(tx).await?;
        if find_locked(tx, Lock::Change, self.node).await?.is_some_and(|row| row.state.is_member()) {
            return Ok(Ok(()));
        }
        let token = match judged {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let now = tx.now().await?;
        let (id, node) = (self.token.as_bytes(), self.node.as_bytes());
        let redeem = "INSERT INTO redemptions (token_id, node_id, redeemed_ms) VALUES (?1, ?2, ?3)";
        tx.execute(redeem, params![id, node, now]).await?;
        tx.execute("UPDATE tokens SET used = used + 1 WHERE token_id = ?1", params![id]).await?;
        enlist(tx, self.node, &token.labels, None).await?;
        Ok(Ok(()))
    }
}

impl JoinNode {
    async fn judge(&self, tx: &mut Tx<'_>) -> Result<Result<TokenRow, JoinRefusal>, MetadataError> {
        let sql = "SELECT token_id, created_ms, expires_ms, revoked_ms, uses, used, labels, secret_digest FROM tokens \
                   WHERE token_id = ?1";
        let Some(row) = tx.first_locked(Lock::Change, sql, params![self.token.as_bytes()]).await? else {
            return Ok(Err(JoinRefusal::Unknown));
        };
        let token = token_row(&row)?;
        let now = tx.now().await?;
        let again = "SELECT 1 FROM redemptions WHERE token_id = ?1 AND node_id = ?2";
        let again = tx.first(again, params![self.token.as_bytes(), self.node.as_bytes()]).await?.is_some();
        Ok(match token {
            // A digest is no secret: how long the comparison takes tells nothing.
            _ if row.array::<32>(7)? != self.secret_digest => Err(JoinRefusal::Unknown),
            TokenRow { revoked: Some(_), .. } => Err(JoinRefusal::Revoked),
            TokenRow { expires: Some(expires), .. } if expires <= now => Err(JoinRefusal::Expired),
            _ if again => Err(JoinRefusal::Again),
            TokenRow { uses: Some(uses), used, .. } if used >= uses => Err(JoinRefusal::Used),
            token => Ok(token),
        })
    }
}
