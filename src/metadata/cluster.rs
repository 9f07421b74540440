//! The one row that says whose database this is.

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

/// Whose database this is; none while it is nobody's.
pub struct FindCluster;

impl Operation for FindCluster {
    type Output = Option<ClusterId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<ClusterId>, MetadataError> {
        let row = tx.first("SELECT cluster_id FROM cluster WHERE one = 1", &[]).await?;
        row.map(|row| Ok(ClusterId::from_bytes(row.array(0)?))).transpose()
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
        let row = tx.first("SELECT cluster_id, generation, key_version FROM cluster WHERE one = 1", &[]).await?;
        let row = row.ok_or_else(|| MetadataError::Corrupt("the cluster's row is missing".into()))?;
        let found = ClusterId::from_bytes(row.array(0)?);
        if found != self.cluster {
            return Err(MetadataError::Unusable(format!(
                "the metadata database belongs to another cluster ({found}); the secret in this data directory is of {}",
                self.cluster
            )));
        }
        Ok(ClusterRow { cluster: found, generation: Generation(row.u64(1)?), key_version: KeyVersion(row.u32(2)?) })
    }
}
