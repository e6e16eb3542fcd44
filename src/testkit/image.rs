//! Tiny Docker images for tests, built on the spot: no registry is asked.
//!
//! Way in: [`TestImage::shared`]. An image holds `/bin/sh`, `sleep`, `cat`, `env` and `tail` of this
//! machine and `/probe` (`probe.c`), which is its entrypoint. Needs `docker`, `cc` and `tar`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

const PROBE: &str = include_str!("probe.c");
/// Programs of this machine that go into the image.
const PROGRAMS: [&str; 5] = ["/bin/sh", "/bin/sleep", "/bin/cat", "/usr/bin/env", "/usr/bin/tail"];
/// Port on which the image serves when it is run as it is.
pub const PORT: u16 = 8080;

/// An image that is there as long as this lives.
#[derive(Debug)]
pub struct TestImage {
    name: String,
}

static IMAGES: Mutex<BTreeMap<String, Weak<TestImage>>> = Mutex::new(BTreeMap::new());

impl TestImage {
    /// The image whose HTTP answers say `version`; built once and removed with its last user.
    /// Nothing without a Docker engine, unless `CI` is set: there one is demanded.
    ///
    /// # Panics
    /// When the image cannot be built, and on CI without an engine.
    pub fn shared(version: &str) -> Option<Arc<Self>> {
        if !engine_answers() {
            return None;
        }
        let mut images = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = images.get(version).and_then(Weak::upgrade) {
            return Some(image);
        }
        let name = format!("platformd-test-{}:{version}", std::process::id());
        build(&name, version);
        let image = Arc::new(Self { name });
        images.insert(version.to_owned(), Arc::downgrade(&image));
        Some(image)
    }

    /// Its reference: repository and tag.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestImage {
    fn drop(&mut self) {
        // Held so that nobody builds the same name while it is being removed.
        let _images = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let _already_gone = docker(&["rmi", "--force", &self.name]);
    }
}

/// Whether a Docker engine answers here; where none does, that is said once.
///
/// # Panics
/// When `CI` is set and none does.
pub fn engine_answers() -> bool {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    *ANSWERS.get_or_init(|| {
        let answers = docker(&["version", "--format", "{{.Server.Version}}"]).is_ok();
        if !answers {
            assert!(std::env::var_os("CI").is_none(), "CI needs a Docker engine for these tests");
            super::not_run("tests on a real engine", "no Docker engine answers");
        }
        answers
    })
}

/// Runs the `docker` command and gives what it printed.
///
/// # Errors
/// What it wrote to stderr.
pub fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).output().map_err(|error| error.to_string())?;
    said(&output)
}

/// Removes every container of an agent, running or not.
pub fn remove_containers_of(agent: &str) {
    let filter = format!("label=platformd.agent={agent}");
    let ids = docker(&["ps", "--all", "--quiet", "--filter", &filter]).unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if !ids.is_empty() {
        let _already_gone = docker(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat());
    }
}

fn build(name: &str, version: &str) {
    let root = std::env::temp_dir().join(format!("{}-root", name.replace(':', "-")));
    let outcome = fill(&root, version).and_then(|()| import(&root, name));
    let _left_behind = std::fs::remove_dir_all(&root);
    assert_eq!(outcome, Ok(()), "test image {name}");
}

fn fill(root: &Path, version: &str) -> Result<(), String> {
    for dir in ["bin", "tmp", "dev", "proc", "etc"] {
        std::fs::create_dir_all(root.join(dir)).map_err(|error| error.to_string())?;
    }
    std::fs::write(root.join("version"), version).map_err(|error| error.to_string())?;
    let source = root.join("tmp/probe.c");
    std::fs::write(&source, PROBE).map_err(|error| error.to_string())?;
    let compiled =
        Command::new("cc").args(["-static", "-Os", "-o"]).arg(root.join("probe")).arg(&source).output();
    said(&compiled.map_err(|error| format!("cc: {error}"))?)?;
    std::fs::remove_file(source).map_err(|error| error.to_string())?;
    for program in PROGRAMS {
        let file = Path::new(program).file_name().unwrap_or_default();
        copy(Path::new(program), &root.join("bin").join(file))?;
        for library in libraries(program)? {
            copy(&library, &root.join(library.strip_prefix("/").unwrap_or(&library)))?;
        }
    }
    Ok(())
}

/// Shared libraries that a program loads, as `ldd` tells.
fn libraries(program: &str) -> Result<Vec<PathBuf>, String> {
    let output = Command::new("ldd").arg(program).output().map_err(|error| format!("ldd: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copy = || {
        to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::copy(from, to).map(drop)
    };
    copy().map_err(|error: std::io::Error| format!("copy {}: {error}", from.display()))
}

fn import(root: &Path, name: &str) -> Result<(), String> {
    let mut tar = Command::new("tar")
        .args(["--create", "--owner=0", "--group=0", "--directory"])
        .arg(root)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("tar: {error}"))?;
    let packed = tar.stdout.take().ok_or("tar has no output")?;
    let serve = format!("CMD [\"serve\", \"{PORT}\"]");
    let changes = ["--change", "ENTRYPOINT [\"/probe\"]", "--change", &serve, "--change", "ENV PATH=/bin"];
    let output = Command::new("docker").arg("import").args(changes).args(["-", name]).stdin(packed).output();
    let imported = said(&output.map_err(|error| error.to_string())?);
    tar.wait().map_err(|error| error.to_string())?;
    imported.map(drop)
}

fn said(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
