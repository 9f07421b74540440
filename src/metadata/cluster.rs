//! The one row that says whose database this is.

use super::copy::read_standing;
use super::dialect::Lock;
use super::tx::{MetadataError, Operation, Tx, params};
use crate::types::{ClusterId, Generation, KeyVersion};

/// Whose database this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterRow {
    /// The cluster's public key.
    pub cluster: ClusterId,
    /// Rises at every recovery or move of the database.
    pub generation: Generation,
    /// The version of the key-encryption key that wraps new content keys.
    pub key_version: KeyVersion,
}

/// Whose database this is; none while it is nobody's. One that was moved away
/// tells where its contents are.
pub struct FindCluster;

impl Operation for FindCluster {
    type Output = Option<ClusterId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<ClusterId>, MetadataError> {
        let Some(standing) = read_standing(tx, Lock::None).await? else { return Ok(None) };
        standing.refusal().map_or(Ok(Some(standing.cluster)), Err)
    }
}

/// Claims a new database for a cluster, or checks that it is this cluster's.
pub struct OpenCluster {
    /// The cluster that the data directory's secret belongs to.
    pub cluster: ClusterId,
}

impl Operation for OpenCluster {
    type Output = ClusterRow;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<ClusterRow, MetadataError> {
        let insert = "INSERT INTO cluster (one, cluster_id, generation, key_version, created_ms) \
                      VALUES (1, ?1, 1, 1, ?2) ON CONFLICT (one) DO NOTHING";
        let now = tx.now().await?;
        tx.execute(insert, params![self.cluster.as_bytes(), now]).await?;
        let standing = read_standing(tx, Lock::None).await?;
        let standing = standing.ok_or_else(|| MetadataError::Corrupt("the cluster's row is missing".into()))?;
        let found = standing.cluster;
        if found != self.cluster {
            return Err(MetadataError::Unusable(format!(
                "the metadata database belongs to another cluster ({found}); the secret in this data directory is of {}",
                self.cluster
            )));
        }
        match standing.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(ClusterRow {
                cluster: found,
                generation: standing.generation,
                key_version: KeyVersion(standing.key_version),
            }),
        }
    }
}
