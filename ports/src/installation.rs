//! The installation: what all nodes on one database share.

use async_trait::async_trait;
use domain::id::InstallationId;
use domain::time::Timestamp;

use crate::BackendError;

/// The installation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Its id, made by the first migration.
    pub id: InstallationId,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Installation {
    /// Its name: the `source` of its events, and the issuer and audience of its tokens unless configured otherwise.
    pub fn urn(&self) -> String {
        format!("urn:plinth:{}", self.id)
    }
}

/// The installation row.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait InstallationRepository: Send + Sync + 'static {
    /// The installation.
    async fn get(&self) -> Result<Installation, BackendError>;

    /// The fingerprint of the master key that it is bound to; none before the first start. MUST bind nothing.
    async fn bound_master_key(&self) -> Result<Option<[u8; 32]>, BackendError>;

    /// Binds the installation to a master key: stores the fingerprint when there is none. MUST be refused when another is stored.
    async fn bind_master_key(&self, fingerprint: &[u8; 32]) -> Result<(), BindMasterKeyError>;
}

/// Why the master key was refused.
#[derive(Debug, thiserror::Error)]
pub enum BindMasterKeyError {
    /// The installation was made with another key.
    #[error("the installation belongs to another master key")]
    OtherKey,
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
