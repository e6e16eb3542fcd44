//! Registry credentials from a Docker configuration file (`--docker-config`).
//!
//! Way in: [`for_image`]. Read at each pull, so that renewed credentials count at once.
//! Knows `auths`; credential helpers are programs and not run by an agent.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;

/// The registry meant by references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Names under which the default registry's credentials are kept.
const DEFAULT_REGISTRY_KEYS: [&str; 3] = ["index.docker.io", "docker.io", "registry-1.docker.io"];

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    /// `user:password` in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
}

/// Credentials for the registry of `image`, if the file has some.
///
/// # Errors
/// What is wrong with the file, for people.
pub(super) fn for_image(file: &Path, image: &str) -> Result<Option<DockerCredentials>, String> {
    let config = read(file)?;
    let registry = registry_of(image);
    let is_meant = |key: &str| {
        let host = host_of(key);
        host == registry || (registry == DEFAULT_REGISTRY && DEFAULT_REGISTRY_KEYS.contains(&host))
    };
    let Some((key, auth)) = config.auths.into_iter().find(|(key, _)| is_meant(key)) else { return Ok(None) };
    auth.into_credentials(key).map(Some)
}

/// Whether the file can be read, before an image wants it.
///
/// # Errors
/// What is wrong with the file, for people.
pub fn check_config(file: &Path) -> Result<(), String> {
    read(file).map(drop)
}

fn read(file: &Path) -> Result<Config, String> {
    let text = std::fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))?;
    serde_json::from_slice(&text)
        .map_err(|error| format!("read {} (--docker-config): {error}", file.display()))
}

impl Auth {
    fn into_credentials(self, registry: String) -> Result<DockerCredentials, String> {
        let decoded = self.auth.as_deref().filter(|auth| !auth.is_empty()).map(|auth| {
            let bytes = BASE64_STANDARD.decode(auth.trim()).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (user, password) = text.split_once(':')?;
            Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
        });
        let (username, password) = match decoded {
            Some(Some((user, password))) => (Some(user), Some(password)),
            Some(None) => {
                return Err(format!(
                    "read the credentials of {registry}: 'auth' is not base64 of user:password"
                ));
            }
            None => (self.username, self.password),
        };
        Ok(DockerCredentials {
            username,
            password,
            identitytoken: self.identity_token,
            serveraddress: Some(registry),
            ..DockerCredentials::default()
        })
    }
}

/// The host part of a reference; a first part without `.` or `:` is a user's name. Source: the
/// reference grammar of the distribution project.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DEFAULT_REGISTRY,
    }
}

/// `https://index.docker.io/v1/` is kept under `index.docker.io`.
fn host_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(image: &str, user: Option<&str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnMzY3JldA=="},
            "registry.example:5000": {"auth": "dGVhbTphOmI/fg=="},
            "plain.example": {"username": "u", "password": "p"},
            "helper.example": {}
        }, "credsStore": "desktop"}"#;
        std::fs::write(file.path(), text).unwrap();
        let found = for_image(file.path(), image).unwrap();
        assert_eq!(found.and_then(|found| found.username).as_deref(), user);
    }

    #[test]
    fn each_image_gets_the_credentials_of_its_registry() {
        check("nginx:1", Some("hub"));
        check("library/nginx", Some("hub"));
        check("registry.example:5000/team/web:2", Some("team"));
        check("plain.example/web", Some("u"));
        check("other.example/web", None);
        check("localhost/web", None);
    }

    #[test]
    fn passwords_may_hold_colons() {
        let auth = |text: &str| Auth {
            auth: Some(text.to_owned()),
            username: None,
            password: None,
            identity_token: None,
        };
        let read = auth("dGVhbTphOmI/fg==").into_credentials("r".to_owned()).unwrap();
        assert_eq!(read.password.as_deref(), Some("a:b?~"));
        assert!(auth("%%%").into_credentials("r".to_owned()).unwrap_err().contains("base64"));
    }

    #[test]
    fn a_broken_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{").unwrap();
        assert!(for_image(file.path(), "web").unwrap_err().contains("--docker-config"));
        assert!(check_config(file.path()).unwrap_err().contains("--docker-config"));
        assert!(check_config(Path::new("/nope")).unwrap_err().contains("/nope"));
        std::fs::write(file.path(), "{}").unwrap();
        assert_eq!(check_config(file.path()), Ok(()));
    }
}
