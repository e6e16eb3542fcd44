//! How connections on the cluster port are opened: in the clear, or by machines that prove
//! their role.
//!
//! With a secret every connection is TLS 1.3. Both sides show the public key of their role
//! (RFC 7250) and prove that they have the other half: a master is dialled only if it is one,
//! and may speak as a master only if it is one. There are no certificates that could expire.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::secret::{PublicKey, Seed};
use super::{AgentSecret, ClusterSecret, DIAL_TIMEOUT, Line, MAGIC, Purpose, SecretError};
use crate::world::net::{TcpStream, first_byte};

/// How connections are opened; shared by everything in a process.
#[derive(Clone, Default)]
pub struct Security(Option<Arc<Keys>>);

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Security(on)" } else { "Security(off)" })
    }
}

struct Keys {
    connector: TlsConnector,
    /// With masters only: agents are never dialled.
    acceptor: Option<Acceptor>,
}

struct Acceptor {
    tls: TlsAcceptor,
    masters: KnownKeys,
    agents: KnownKeys,
}

impl Security {
    /// In the clear: for loopback, trusted networks and the simulator.
    pub fn off() -> Self {
        Self(None)
    }

    /// As a master.
    ///
    /// # Errors
    /// [`SecretError::Wrong`] when the keys cannot be used.
    pub fn of_master(secret: &ClusterSecret) -> Result<Self, SecretError> {
        let own = certified(secret.own())?;
        let (masters, agents) = (KnownKeys::new(&secret.masters()?), KnownKeys::new(&secret.agents()?));
        let either = KnownKeys([&masters.0[..], &agents.0[..]].concat());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|_| UNUSABLE)?
            .with_client_cert_verifier(Arc::new(either))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&own))));
        // Every connection lives long and proves itself anew.
        config.send_tls13_tickets = 0;
        let acceptor =
            Acceptor { tls: TlsAcceptor::from(Arc::new(config)), masters: masters.clone(), agents };
        Ok(Self(Some(Arc::new(Keys { connector: connector(own, masters)?, acceptor: Some(acceptor) }))))
    }

    /// As an agent.
    ///
    /// # Errors
    /// [`SecretError::Wrong`] when the keys cannot be used.
    pub fn of_agent(secret: &AgentSecret) -> Result<Self, SecretError> {
        let masters = KnownKeys::new(&secret.masters());
        let connector = connector(certified(secret.own())?, masters)?;
        Ok(Self(Some(Arc::new(Keys { connector, acceptor: None }))))
    }

    /// Connects to the master at `address` for `purpose`, within [`DIAL_TIMEOUT`].
    ///
    /// # Errors
    /// What the network answers, a time-out, or `PermissionDenied` with a sentence when the
    /// other side has another secret or none.
    pub async fn dial(&self, address: &str, purpose: Purpose) -> io::Result<Line> {
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let Some(keys) = &self.0 else { return Line::begin(stream, purpose).await };
            // The name travels nowhere; the role's key is what counts.
            let name = ServerName::try_from("platformd").map_err(io::Error::other)?;
            let stream = keys.connector.connect(name, stream).await.map_err(|error| not_let_in(&error))?;
            Line::begin(stream, purpose).await
        };
        timeout(DIAL_TIMEOUT, connect).await.map_err(|_| timed_out())?
    }

    /// Takes a connection that somebody opened to us, within [`DIAL_TIMEOUT`].
    ///
    /// # Errors
    /// When the other side does not speak our frames, is slow to say so, or, as
    /// `PermissionDenied`, does not prove the role that its purpose needs.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(Line, Purpose)> {
        let greet = async {
            stream.set_nodelay(true)?;
            let Some(keys) = &self.0 else { return Line::greet(stream).await };
            let refused = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, why);
            let acceptor = keys.acceptor.as_ref().ok_or_else(|| refused("agents take no connections"))?;
            acceptor.greet(stream).await
        };
        timeout(DIAL_TIMEOUT, greet).await.map_err(|_| timed_out())?
    }
}

impl Acceptor {
    async fn greet(&self, mut stream: TcpStream) -> io::Result<(Line, Purpose)> {
        let refused = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
        if first_byte(&mut stream).await? == MAGIC.first().copied() {
            return Err(refused("it has no cluster secret; give it --cluster-secret-file".to_owned()));
        }
        let stream = self.tls.accept(stream).await;
        let stream = stream.map_err(|error| refused(format!("it did not prove its role: {error}")))?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        let (line, purpose) = Line::greet(stream).await?;
        let expected = match purpose {
            Purpose::Masters => &self.masters,
            Purpose::Agent => &self.agents,
        };
        if !shown.is_some_and(|key| expected.know(&key)) {
            return Err(refused(format!("it proved another role than {purpose:?} needs")));
        }
        Ok((line, purpose))
    }
}

const UNUSABLE: SecretError = SecretError::Wrong("gives keys that TLS cannot use");

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certified(seed: Option<&Seed>) -> Result<Arc<CertifiedKey>, SecretError> {
    let seed = seed.ok_or(UNUSABLE)?;
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(seed.pkcs8()));
    let key = key.map_err(|_| UNUSABLE)?;
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(seed.public_key()?.spki())], key)))
}

fn connector(own: Arc<CertifiedKey>, masters: KnownKeys) -> Result<TlsConnector, SecretError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| UNUSABLE)?
        .dangerous() // Named so because it replaces certificates; we know the keys themselves.
        .with_custom_certificate_verifier(Arc::new(masters))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own)));
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// The handshake failed: other secrets, or none on the other side.
fn not_let_in(error: &io::Error) -> io::Error {
    let why = format!(
        "no agreement on the cluster's secret ({error}); compare --cluster-secret-file there and here"
    );
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Recognises the holders of some keys, by the keys alone.
#[derive(Clone, Debug)]
struct KnownKeys(Vec<Vec<u8>>);

impl KnownKeys {
    fn new(keys: &[PublicKey]) -> Self {
        Self(keys.iter().map(PublicKey::spki).collect())
    }

    fn know(&self, shown: &CertificateDer<'_>) -> bool {
        self.0.iter().any(|known| known.as_slice() == shown.as_ref())
    }

    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let unknown = CertificateError::ApplicationVerificationFailure;
        if self.know(shown) { Ok(()) } else { Err(unknown.into()) }
    }
}

fn check_signature(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let algorithms = &provider().signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(shown.as_ref()),
        signed,
        algorithms,
    )
}

fn no_tls12() -> rustls::Error {
    rustls::Error::General("only TLS 1.3 is spoken here".to_owned())
}

impl ServerCertVerifier for KnownKeys {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for KnownKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;
    use crate::world::net::TcpListener;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn master(text: &str) -> Security {
        Security::of_master(&ClusterSecret::parse(text).unwrap()).unwrap()
    }

    fn agent(text: &str) -> Security {
        let text = ClusterSecret::parse(text).unwrap().agents_text().unwrap();
        Security::of_agent(&AgentSecret::parse(&text).unwrap()).unwrap()
    }

    /// What the master makes of the caller, and a message there and back when it let it in.
    async fn meet(caller: Security, purpose: Purpose, answerer: Security) -> (io::Result<Purpose>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answering = crate::world::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut line, purpose) = answerer.accept(stream).await?;
            let number: Option<u64> = line.receive().await?;
            line.send(&number.map(|number| number + 1)).await?;
            Ok(purpose)
        });
        let calling = async {
            let mut line = caller.dial(&address, purpose).await?;
            line.send(&41u64).await?;
            line.receive::<Option<u64>>().await
        };
        let heard = calling.await;
        (answering.await.unwrap(), matches!(heard, Ok(Some(Some(42)))))
    }

    #[track_caller]
    fn check_refused((outcome, heard): (io::Result<Purpose>, bool), part: &str) {
        let error = outcome.unwrap_err();
        assert!(!heard, "nothing is said to who was not let in");
        assert!(error.to_string().contains(part), "{error}");
    }

    #[tokio::test]
    async fn machines_of_one_secret_meet_in_their_roles() {
        let (purpose, heard) = meet(master(SECRET), Purpose::Masters, master(SECRET)).await;
        assert_eq!((purpose.unwrap(), heard), (Purpose::Masters, true));
        let (purpose, heard) = meet(agent(SECRET), Purpose::Agent, master(SECRET)).await;
        assert_eq!((purpose.unwrap(), heard), (Purpose::Agent, true));
        let (purpose, heard) = meet(Security::off(), Purpose::Agent, Security::off()).await;
        assert_eq!((purpose.unwrap(), heard), (Purpose::Agent, true));
    }

    #[tokio::test]
    async fn roles_are_not_to_be_changed() {
        check_refused(meet(agent(SECRET), Purpose::Masters, master(SECRET)).await, "another role");
        check_refused(meet(master(SECRET), Purpose::Agent, master(SECRET)).await, "another role");
    }

    #[tokio::test]
    async fn other_secrets_and_none_stay_outside() {
        check_refused(meet(master(OTHER), Purpose::Masters, master(SECRET)).await, "prove its role");
        check_refused(meet(agent(OTHER), Purpose::Agent, master(SECRET)).await, "prove its role");
        check_refused(meet(Security::off(), Purpose::Agent, master(SECRET)).await, "no cluster secret");
        check_refused(meet(agent(SECRET), Purpose::Agent, Security::off()).await, "with a cluster secret");
    }

    #[tokio::test]
    async fn a_caller_learns_why_it_is_not_let_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answering = crate::world::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            master(OTHER).accept(stream).await.map(|_| ())
        });
        let Err(error) = agent(SECRET).dial(&address, Purpose::Agent).await else { panic!("let in") };
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("--cluster-secret-file"), "{error}");
        assert!(answering.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_secret_gives_way_to_another_one_machine_at_a_time() {
        let both = format!("{SECRET}\n{OTHER}");
        let turned = format!("{OTHER}\n{SECRET}");
        for (caller, answerer) in
            [(SECRET, both.as_str()), (&both, SECRET), (&both, &turned), (&turned, OTHER), (OTHER, &turned)]
        {
            let (purpose, heard) = meet(master(caller), Purpose::Masters, master(answerer)).await;
            assert_eq!((purpose.unwrap(), heard), (Purpose::Masters, true));
            let (purpose, heard) = meet(agent(caller), Purpose::Agent, master(answerer)).await;
            assert_eq!((purpose.unwrap(), heard), (Purpose::Agent, true));
        }
    }
}
