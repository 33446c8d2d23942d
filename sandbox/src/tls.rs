//! The sandbox's own certificate authority, and routers served over TLS.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use chrono::Datelike;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use rustls::server::{ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::serve::Background;

/// A certificate with its key, as PEM.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
    certified: Arc<CertifiedKey>,
}

impl IssuedCertificate {
    /// The form that a TLS server wants.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// The sandbox's authority: stands for Let's Encrypt and for a cluster's own authority.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority kept in `dir`, or makes a new one there (`ca.pem`, `ca.key`).
    ///
    /// # Errors
    /// When the files can't be read, parsed or written.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let (certificate_file, key_file) = (dir.join("ca.pem"), dir.join("ca.key"));
        if certificate_file.exists() {
            let key = KeyPair::from_pem(&read(&key_file)?).context("parse the authority's key")?;
            return Ok(Self {
                certificate_pem: read(&certificate_file)?,
                issuer: Issuer::new(authority_params()?, key),
            });
        }
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let key = KeyPair::generate()?;
        let certificate_pem = authority_params()?.self_signed(&key)?.pem();
        write(&key_file, &key.serialize_pem())?;
        write(&certificate_file, &certificate_pem)?;
        Ok(Self {
            certificate_pem,
            issuer: Issuer::new(authority_params()?, key),
        })
    }

    /// The authority's certificate as PEM, for clients that are to trust it.
    pub fn pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for host names or addresses, good for `days` from today (past if negative).
    ///
    /// # Errors
    /// When a name is not one.
    pub fn issue(&self, names: &[&str], days: i64) -> anyhow::Result<IssuedCertificate> {
        let mut params = params(names, names.first().copied().unwrap_or_default())?;
        let end = chrono::Utc::now() + chrono::Duration::days(days);
        params.not_after = rcgen::date_time_ymd(
            end.year(),
            u8::try_from(end.month())?,
            u8::try_from(end.day())?,
        );
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A certificate with which a client names itself.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn issue_client(&self, name: &str) -> anyhow::Result<IssuedCertificate> {
        let mut params = params(&[], name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// The placeholder that an ingress shows as long as it has no certificate.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn placeholder() -> anyhow::Result<IssuedCertificate> {
        let key = KeyPair::generate()?;
        let params = params(
            &["ingress.local"],
            "Kubernetes Ingress Controller Fake Certificate",
        )?;
        issued(&params.self_signed(&key)?, &key)
    }

    /// TLS settings that demand a client certificate of this authority.
    ///
    /// # Errors
    /// When rustls refuses the settings.
    pub fn config_for_clients(
        &self,
        certificate: &IssuedCertificate,
    ) -> anyhow::Result<Arc<ServerConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes())?)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Always(certificate.certified())));
        Ok(Arc::new(config))
    }

    fn sign(&self, params: &CertificateParams) -> anyhow::Result<IssuedCertificate> {
        let key = KeyPair::generate()?;
        issued(&params.signed_by(&key, &self.issuer)?, &key)
    }
}

/// TLS settings whose certificate is chosen for each connection.
///
/// # Errors
/// When rustls refuses the settings.
pub fn config(resolver: Arc<dyn ResolvesServerCert>) -> anyhow::Result<Arc<ServerConfig>> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    Ok(Arc::new(config))
}

/// Serves a router over TLS, as one of these background tasks.
pub(crate) fn serve_tls(
    background: &Background,
    listener: TcpListener,
    router: Router,
    config: Arc<ServerConfig>,
) {
    background.run(serve(listener, router, TlsAcceptor::from(config)));
}

async fn serve(listener: TcpListener, router: Router, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        connections.spawn(async move {
            // A client that does not like the certificate ends here; that is its business.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a TLS connection broke");
            }
        });
    }
}

/// One certificate whatever the client asks for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn params(names: &[&str], common_name: &str) -> anyhow::Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).context("name a certificate")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

fn authority_params() -> anyhow::Result<CertificateParams> {
    let mut params = params(&[], "pangeo-bot sandbox authority (a simulation)")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn issued(certificate: &rcgen::Certificate, key: &KeyPair) -> anyhow::Result<IssuedCertificate> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = any_supported_type(&der)?;
    Ok(IssuedCertificate {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        certified: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signer)),
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
