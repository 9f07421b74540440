//! Certificates, which carry Ed25519 keys through TLS and mean nothing else:
//! a node's is signed by itself, a door's by the cluster's key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ED25519, date_time_ymd};
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, TrustAnchor, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

use super::{ClusterIdentity, Identity, TransportError};
use crate::types::{ClusterId, NodeId};

/// How long a door's certificate says that it is valid, to either side of now.
const DOOR_VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// It is replaced after half of that. Connections that exist do not notice.
const DOOR_RENEWAL: Duration = Duration::from_secs(12 * 3600);

/// DER of an Ed25519 SubjectPublicKeyInfo up to the 32 bytes of the key. The
/// first two bytes are the outer SEQUENCE's tag and length.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A node's certificate: its key, signed by itself.
pub(super) fn node_certificate(
    identity: &Identity,
) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), TransportError> {
    let pkcs8 = PrivatePkcs8KeyDer::from(identity.pkcs8().to_vec());
    let key = KeyPair::try_from(&pkcs8).map_err(TransportError::crypto)?;
    let certificate = params("cairn node", ExtendedKeyUsagePurpose::ClientAuth)?;
    let certificate = certificate.self_signed(&key).map_err(TransportError::crypto)?;
    Ok((certificate.der().clone(), pkcs8))
}

/// The key in a node's certificate. The TLS handshake proves possession.
pub(super) fn node_id(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let spki = certificate.subject_public_key_info();
    NodeId::from_slice(spki.strip_prefix(&ED25519_SPKI)?).ok()
}

/// Whether the cluster's key signed this door's certificate. Its validity is
/// judged at its own first moment, as this node's clock may be wrong; see the
/// room's opening words for what takes the clock's place.
pub(super) fn is_door_of(cluster: ClusterId, certificate: &CertificateDer<'_>) -> Result<(), webpki::Error> {
    let door = EndEntityCert::try_from(certificate)?;
    let spki = [&ED25519_SPKI[2..], cluster.as_bytes()].concat();
    let anchor =
        TrustAnchor { subject: door.issuer().into(), subject_public_key_info: spki.into(), name_constraints: None };
    let anchors = [anchor];
    let verify = |time| {
        let algorithms = [webpki::aws_lc_rs::ED25519];
        door.verify_for_usage(&algorithms, &anchors, &[], time, KeyUsage::server_auth(), None, None).map(drop)
    };
    match verify(UnixTime::since_unix_epoch(Duration::ZERO)) {
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => verify(not_before),
        other => other,
    }
}

/// A door's current certificate, replaced in time.
pub(super) struct DoorCertificates {
    cluster: Arc<ClusterIdentity>,
    current: Mutex<(Instant, Arc<CertifiedKey>)>,
}

impl DoorCertificates {
    pub(super) fn new(cluster: Arc<ClusterIdentity>) -> Result<Self, TransportError> {
        let first = Arc::new(issue(&cluster)?);
        Ok(Self { cluster, current: Mutex::new((Instant::now(), first)) })
    }

    fn get(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() >= DOOR_RENEWAL {
            match issue(&self.cluster) {
                Ok(fresh) => *current = (Instant::now(), Arc::new(fresh)),
                Err(error) => tracing::error!(%error, "cannot renew the door's certificate"),
            }
        }
        current.1.clone()
    }
}

impl std::fmt::Debug for DoorCertificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DoorCertificates")
    }
}

impl ResolvesServerCert for DoorCertificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

fn issue(cluster: &ClusterIdentity) -> Result<CertifiedKey, TransportError> {
    let signer = cluster.pkcs8()?;
    let signer = KeyPair::try_from(signer.as_slice()).map_err(TransportError::crypto)?;
    let issuer = Issuer::new(params("cairn cluster", ExtendedKeyUsagePurpose::ServerAuth)?, signer);
    let key = KeyPair::generate_for(&PKCS_ED25519).map_err(TransportError::crypto)?;
    let mut door = params("cairn door", ExtendedKeyUsagePurpose::ServerAuth)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    door.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(DOOR_VALIDITY);
    door.not_after = date_time_ymd(1970, 1, 1) + (now + DOOR_VALIDITY);
    let certificate = door.signed_by(&key, &issuer).map_err(TransportError::crypto)?;
    let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(key.serialize_der())).map_err(TransportError::crypto)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

fn params(name: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, TransportError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(TransportError::crypto)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(seed: u8) -> Arc<ClusterIdentity> {
        Arc::new(ClusterIdentity::from_seed(&[seed; 32]).unwrap())
    }

    #[test]
    fn a_door_is_known_by_the_clusters_key_alone() {
        let door = DoorCertificates::new(cluster(1)).unwrap().get();
        assert_eq!(is_door_of(cluster(1).cluster_id(), &door.cert[0]), Ok(()));
        assert!(is_door_of(cluster(2).cluster_id(), &door.cert[0]).is_err());
    }

    #[test]
    fn a_node_cannot_pose_as_a_door() {
        let identity = Identity::generate().unwrap();
        let (certificate, _) = node_certificate(&identity).unwrap();
        let posing = ClusterId::from_bytes(*identity.node_id().as_bytes());
        assert!(is_door_of(posing, &certificate).is_err());
    }

    #[test]
    fn a_door_certificate_is_renewed_in_time() {
        let certificates = DoorCertificates::new(cluster(1)).unwrap();
        let first = certificates.get();
        assert_eq!(first.cert, certificates.get().cert);
        certificates.current.lock().unwrap().0 -= DOOR_RENEWAL;
        let second = certificates.get();
        assert_ne!(first.cert, second.cert);
        assert_eq!(is_door_of(cluster(1).cluster_id(), &second.cert[0]), Ok(()));
    }

    #[test]
    fn a_nodes_certificate_carries_its_id() {
        let identity = Identity::generate().unwrap();
        let (certificate, _) = node_certificate(&identity).unwrap();
        assert_eq!(node_id(&certificate), Some(identity.node_id()));
        assert_eq!(node_id(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
