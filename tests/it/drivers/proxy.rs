//! A socket before the engine's own, which a test can cut and mend.

use std::path::PathBuf;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

pub struct Proxy {
    engine: String,
    path: PathBuf,
    /// The listener and all its connections; dropping it drops them.
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Proxy {
    pub fn before(engine: &str, path: PathBuf) -> Self {
        let mut proxy = Self { engine: engine.to_owned(), path, running: None };
        proxy.mend();
        proxy
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Drops every connection and takes no new one.
    pub fn cut(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
        std::fs::remove_file(&self.path).unwrap();
    }

    /// Takes connections again.
    pub fn mend(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let engine = self.engine.clone();
        self.running = Some(platformd::world::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let engine = engine.clone();
                connections.spawn(async move {
                    let Ok(mut far) = UnixStream::connect(engine).await else { return };
                    let _over = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
