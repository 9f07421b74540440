//! Which redundancy scheme new segments get, and whether writes are possible.

use super::{Transfer, TransferError};
use crate::erasure::{Coding, Scheme};
use crate::types::limits::STRIPES_MAX;

/// What the operator has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchemePolicy {
    /// The redundancy scheme; otherwise it follows from the number of
    /// registered failure domains.
    pub configured: Option<Scheme>,
    /// Failure domains that must have joined before anything is written;
    /// otherwise as many as a configured scheme has pieces.
    pub min_nodes: Option<u16>,
}

/// What one segment is made by, from its first byte to its last piece, however
/// the cluster grows meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    scheme: Scheme,
}

impl Plan {
    /// A plan for segments of this scheme.
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme }
    }

    /// The redundancy scheme.
    pub fn scheme(self) -> Scheme {
        self.scheme
    }

    /// The coding that follows from it.
    pub fn coding(self) -> Coding {
        Coding::from(self.scheme)
    }

    /// Ciphertext bytes of a full segment.
    pub fn segment_bytes(self) -> usize {
        crate::segment::capacity(self.coding())
    }

    /// Ciphertext bytes of a full stripe: the least step in which a segment
    /// grows without leaving shares short.
    pub fn stripe_bytes(self) -> usize {
        self.segment_bytes() / STRIPES_MAX
    }
}

/// Whether data can be written, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The redundancy scheme of new segments.
    pub scheme: Scheme,
    /// Failure domains with nodes that are to take pieces, offline or not.
    pub registered_domains: usize,
    /// Failure domains that are connected.
    pub connected_domains: usize,
    /// Those of them that would take a full piece.
    pub writable_domains: usize,
    /// Failure domains that must have joined before anything is written.
    pub needed: u16,
    /// Why nothing can be written now; none when it can.
    pub missing: Option<String>,
}

impl Transfer {
    /// The redundancy scheme of segments that begin now.
    pub fn scheme(&self) -> Scheme {
        let registered = self.fleet.roster().registered_domains;
        self.policy.configured.unwrap_or_else(|| Scheme::default_for(registered))
    }

    /// What a segment that begins now is made by.
    pub fn plan(&self) -> Plan {
        Plan::new(self.scheme())
    }

    /// Whether data can be written now.
    pub fn readiness(&self) -> Readiness {
        let scheme = self.scheme();
        let optimal = usize::from(scheme.optimal());
        let field = self.fleet.field(|field| field.writable_domains >= optimal);
        let writable_domains = field.writable_domains;
        let offline = || {
            format!(
                "{} must take what is written, and {writable_domains} can: the others are offline or full, or take \
                 nothing new",
                match optimal {
                    1 => "1 storage node".to_owned(),
                    _ => format!("{optimal} storage nodes in different failure domains"),
                }
            )
        };
        Readiness {
            scheme,
            registered_domains: self.fleet.roster().registered_domains,
            connected_domains: field.connected_domains,
            writable_domains,
            needed: self.needed(),
            missing: self.not_joined().or_else(|| (writable_domains < optimal).then(offline)),
        }
    }

    fn needed(&self) -> u16 {
        let configured = self.policy.configured.map(Scheme::total);
        self.policy.min_nodes.or(configured).unwrap_or(1)
    }

    /// A sentence as long as too few have ever joined. Those that joined and
    /// went later do not count against it: what a scheme cannot do without is
    /// asked of those that are there.
    fn not_joined(&self) -> Option<String> {
        let (joined, needed) = (self.fleet.roster().joined_domains, self.needed());
        let what = match (self.policy.min_nodes, self.policy.configured) {
            (None, Some(scheme)) => format!("the redundancy scheme {scheme} is made for"),
            _ => "writing begins with".to_owned(),
        };
        (joined < usize::from(needed)).then(|| match joined {
            0 => "no storage node has joined yet, so nothing can be written".to_owned(),
            _ => {
                format!("{joined} of the {needed} failure domains that {what} have joined: writes wait for the others")
            }
        })
    }

    /// Fails as long as too few nodes have ever joined, even for what would
    /// need none: an operator shall see one behaviour.
    pub fn check_joined(&self) -> Result<(), TransferError> {
        self.not_joined().map_or(Ok(()), |sentence| Err(TransferError::NotReady(sentence)))
    }

    /// Fails unless enough nodes are there to take a segment, so that a body
    /// is not read for nothing.
    pub fn check_writable(&self) -> Result<(), TransferError> {
        self.readiness().missing.map_or(Ok(()), |sentence| Err(TransferError::NotReady(sentence)))
    }
}
