//! The cluster's secret, and what a machine of each role is given of it.
//!
//! A master holds the secret itself; an agent holds
//! only what proves that it is an agent and what recognises a master, so that whoever takes
//! an agent's machine becomes neither a master nor another agent. Never shown or logged.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hkdf;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::world::private_file::{PrivateFileError, read_private};

/// Fewest bytes that cannot be guessed.
const SECRET_BYTES_MIN: usize = 32;
/// The one that is used and the one that it takes the place of, or the other way round.
const SECRETS_MAX: usize = 2;
/// Begins the text of what an agent is given.
const AGENT_PREFIX: &str = "platformd-agent-1:";
/// Begins the text of a generated secret.
const CLUSTER_PREFIX: &str = "platformd-cluster-1:";

/// Why a secret's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be had.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// It is not what was expected.
    #[error("{0}")]
    Wrong(&'static str),
}

/// Half of a key pair that proves a role.
pub(super) struct Seed([u8; 32]);

/// Half of a key pair that recognises a role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PublicKey(pub(super) [u8; 32]);

/// What a master holds: the secret in use, and perhaps one that is accepted as well.
pub struct ClusterSecret(Vec<RoleSeeds>);

struct RoleSeeds {
    masters: Seed,
    agents: Seed,
}

/// What an agent holds: as [`ClusterSecret`], as much of each as an agent needs.
pub struct AgentSecret(Vec<(Seed, PublicKey)>);

impl ClusterSecret {
    /// A fresh secret's text, from the machine's own chance even in the simulator.
    ///
    /// # Errors
    /// [`SecretError::Wrong`] when the machine gives no chance.
    pub fn generate() -> Result<String, SecretError> {
        let mut bytes = [0u8; SECRET_BYTES_MIN];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| SecretError::Wrong("cannot be made: this machine gives no random bytes"))?;
        Ok(format!("{CLUSTER_PREFIX}{}", BASE64.encode(bytes)))
    }

    /// Reads a file with one secret a line.
    ///
    /// # Errors
    /// [`SecretError`]: a sentence to be put after the flag and the path.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        Self::parse(&read_private(path)?)
    }

    /// Reads the text of such a file: one line, or two while one takes the place of another.
    ///
    /// # Errors
    /// [`SecretError::Wrong`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let seeds = lines(text)?.into_iter().map(|line| {
            if line.starts_with(AGENT_PREFIX) {
                return Err(SecretError::Wrong(
                    "holds an agent's secret; a master needs the cluster's own, from 'platformd secret create'",
                ));
            }
            if line.len() < SECRET_BYTES_MIN {
                return Err(SecretError::Wrong(
                    "holds fewer than 32 characters; make one with 'platformd secret create'",
                ));
            }
            Ok(RoleSeeds { masters: derive(line, "masters")?, agents: derive(line, "agents")? })
        });
        Ok(Self(seeds.collect::<Result<_, _>>()?))
    }

    /// The text that agents are given.
    ///
    /// # Errors
    /// None with a secret that was parsed; the library could say no.
    pub fn agents_text(&self) -> Result<String, SecretError> {
        let mut text = String::new();
        for seeds in &self.0 {
            let mut bytes = seeds.agents.0.to_vec();
            bytes.extend(seeds.masters.public_key()?.0);
            text.push_str(AGENT_PREFIX);
            text.push_str(&BASE64.encode(bytes));
            text.push('\n');
        }
        Ok(text)
    }

    /// What masters prove themselves with: the first secret's seed.
    pub(super) fn own(&self) -> Option<&Seed> {
        self.0.first().map(|seeds| &seeds.masters)
    }

    pub(super) fn masters(&self) -> Result<Vec<PublicKey>, SecretError> {
        self.0.iter().map(|seeds| seeds.masters.public_key()).collect()
    }

    pub(super) fn agents(&self) -> Result<Vec<PublicKey>, SecretError> {
        self.0.iter().map(|seeds| seeds.agents.public_key()).collect()
    }
}

impl AgentSecret {
    /// Reads a file with one agent's secret a line.
    ///
    /// # Errors
    /// [`SecretError`]: a sentence to be put after the flag and the path.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        Self::parse(&read_private(path)?)
    }

    /// Reads the text of such a file, as [`ClusterSecret::agents_text`] gives it.
    ///
    /// # Errors
    /// [`SecretError::Wrong`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let pairs = lines(text)?.into_iter().map(|line| {
            let Some(encoded) = line.strip_prefix(AGENT_PREFIX) else {
                return Err(SecretError::Wrong(
                    "holds no agent's secret; on a master's machine run 'platformd secret agent \
                     --cluster-secret-file FILE' and give agents what it prints: whoever holds the \
                     cluster's own secret can be a master",
                ));
            };
            let broken = SecretError::Wrong(
                "holds an agent's secret that is cut or changed; copy what 'platformd secret agent' printed",
            );
            let Ok(bytes) = BASE64.decode(encoded) else { return Err(broken) };
            let halves = bytes.split_first_chunk::<32>();
            match halves.map(|(seed, rest)| (seed, <[u8; 32]>::try_from(rest))) {
                Some((seed, Ok(masters))) => Ok((Seed(*seed), PublicKey(masters))),
                _ => Err(broken),
            }
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    pub(super) fn own(&self) -> Option<&Seed> {
        self.0.first().map(|(seed, _)| seed)
    }

    pub(super) fn masters(&self) -> Vec<PublicKey> {
        self.0.iter().map(|(_, masters)| *masters).collect()
    }
}

impl Seed {
    /// Private key in the form that TLS libraries read. Source: RFC 8410, section 7.
    pub(super) fn pkcs8(&self) -> Vec<u8> {
        const PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        [&PREFIX[..], &self.0].concat()
    }

    pub(super) fn public_key(&self) -> Result<PublicKey, SecretError> {
        let refused = SecretError::Wrong("gives no key; make another with 'platformd secret create'");
        let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(&self.0) else { return Err(refused) };
        let bytes = <[u8; 32]>::try_from(pair.public_key().as_ref());
        bytes.map(PublicKey).map_err(|_| refused)
    }
}

impl PublicKey {
    /// In the form that travels in a handshake. Source: RFC 8410, section 4.
    pub(super) fn spki(&self) -> Vec<u8> {
        const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        [&PREFIX[..], &self.0].concat()
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

impl fmt::Debug for AgentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentSecret")
    }
}

fn derive(secret: &str, role: &str) -> Result<Seed, SecretError> {
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"platformd cluster secret 1").extract(secret.as_bytes());
    let mut seed = [0u8; 32];
    let info = [role.as_bytes()];
    let derived = key.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut seed));
    derived.map(|()| Seed(seed)).map_err(|_| SecretError::Wrong("gives no key"))
}

fn lines(text: &str) -> Result<Vec<&str>, SecretError> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0 => Err(SecretError::Wrong("is empty; make a secret with 'platformd secret create'")),
        1..=SECRETS_MAX => Ok(lines),
        _ => Err(SecretError::Wrong(
            "has more than two lines; expected the secret that is used and at most one more that is accepted",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_agent_is_given_its_own_proof_and_how_to_know_a_master() {
        let cluster = ClusterSecret::parse(SECRET).unwrap();
        let agent = AgentSecret::parse(&cluster.agents_text().unwrap()).unwrap();
        let own = agent.own().unwrap().public_key().unwrap();
        assert!(cluster.agents().unwrap() == [own]);
        assert!(agent.masters() == cluster.masters().unwrap());
        assert!(cluster.masters().unwrap() != [own], "roles have keys of their own");
    }

    #[test]
    fn the_same_secret_gives_the_same_keys_for_ever() {
        // Golden: a machine with another version must still be recognised.
        let text = ClusterSecret::parse(SECRET).unwrap().agents_text().unwrap();
        assert_eq!(text, ClusterSecret::parse(&format!("\n {SECRET} \n")).unwrap().agents_text().unwrap());
        assert_eq!(text.trim(), GOLDEN);
    }

    const GOLDEN: &str = "platformd-agent-1:kYU7uw1SwzhzTDPgm0WjhDWi4OLCGNwbGSiUb93zEkToW_qinyTN5uWW1h2gbDt-7B5BGwJyXsZ3K2I7K585Xw";

    #[test]
    fn a_second_line_is_accepted_as_well() {
        let other = ClusterSecret::generate().unwrap();
        let both = ClusterSecret::parse(&format!("{SECRET}\n{other}\n")).unwrap();
        assert_eq!(both.masters().unwrap().len(), 2);
        let agents = AgentSecret::parse(&both.agents_text().unwrap()).unwrap();
        assert!(agents.masters() == both.masters().unwrap());
    }

    #[track_caller]
    fn check_refused<T>(parsed: Result<T, SecretError>, part: &str) {
        let Err(error) = parsed else { panic!("taken; expected {part}") };
        assert!(error.to_string().contains(part), "{error}");
    }

    #[test]
    fn other_texts_are_refused_and_say_what_to_do() {
        check_refused(ClusterSecret::parse(" \n"), "secret create");
        check_refused(ClusterSecret::parse("short"), "32 characters");
        check_refused(ClusterSecret::parse(&format!("{SECRET}\n{SECRET}\n{SECRET}")), "two lines");
        let agents = ClusterSecret::parse(SECRET).unwrap().agents_text().unwrap();
        check_refused(ClusterSecret::parse(&agents), "agent's secret");
        check_refused(AgentSecret::parse(SECRET), "secret agent");
        check_refused(AgentSecret::parse(agents.trim().get(..40).unwrap()), "cut or changed");
        check_refused(AgentSecret::parse(&format!("{}AA", agents.trim())), "cut or changed");
    }
}
