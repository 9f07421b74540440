//! TLS 1.3, both sides known by their Ed25519 keys. No session resumption: it
//! would skip the proof of the keys, and nodes dial rarely.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

use super::certificate::{DoorCertificates, is_door_of, node_certificate, node_id};
use super::{ClusterIdentity, Identity, TransportError};
use crate::types::ClusterId;

/// Label under which both sides export the value that a door signs.
pub(super) const BINDING_LABEL: &[u8] = b"EXPORTER-cairn-generation";

/// What a node dials with.
pub(super) fn node_config(identity: &Identity, cluster: ClusterId) -> Result<ClientConfig, TransportError> {
    let (certificate, key) = node_certificate(identity)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(DoorVerifier { cluster, provider: provider.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TransportError::crypto)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![certificate], key.into())
        .map_err(TransportError::crypto)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What a door accepts with.
pub(super) fn door_config(cluster: Arc<ClusterIdentity>) -> Result<ServerConfig, TransportError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(TransportError::crypto)?
        .with_client_cert_verifier(Arc::new(NodeVerifier { provider }))
        .with_cert_resolver(Arc::new(DoorCertificates::new(cluster)?));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The node's judgement of a door: signed by the pinned key, whatever its name.
#[derive(Debug)]
struct DoorVerifier {
    cluster: ClusterId,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for DoorVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        is_door_of(self.cluster, certificate)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// The door's judgement of a node during TLS: it has *some* Ed25519 key.
/// Whether that node is welcome is said in answer to its hello, in a sentence.
#[derive(Debug)]
struct NodeVerifier {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for NodeVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        node_id(certificate)
            .map(|_| ClientCertVerified::assertion())
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
