//! Background tasks and chance: tokio's and the system's, or the simulator's seeded ones.

use std::future::Future;

use tokio::task::JoinHandle;

#[cfg(feature = "sim")]
type Simulated = openraft_rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>;

/// Starts a background task.
#[cfg(not(feature = "sim"))]
#[expect(clippy::disallowed_methods, reason = "the one place that may")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Starts a background task whose chance derives from its parent's.
#[cfg(feature = "sim")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(inherit(future))
}

/// Prepares a future for a foreign spawner, such as a `JoinSet` or an HTTP server.
#[cfg(not(feature = "sim"))]
pub fn inherit<F: Future>(future: F) -> impl Future<Output = F::Output> {
    future
}

/// Prepares a future for a foreign spawner: its chance derives from the caller's.
#[cfg(feature = "sim")]
pub fn inherit<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Simulated::scope(random_u64(), future)
}

/// Runs `work`, which may wait for a disk or compute for long, away from the threads that serve others.
#[cfg(not(feature = "sim"))]
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await, // The runtime is ending; nobody waits for us.
    }
}

/// Runs `work` at once: the simulator has one thread.
#[cfg(feature = "sim")]
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    work()
}

/// A random number that nobody can guess; in the simulator the seed tells it.
#[cfg(not(feature = "sim"))]
pub fn random_u64() -> u64 {
    rand::random()
}

/// The next number of the seed; must be called within a simulated host.
#[cfg(feature = "sim")]
pub fn random_u64() -> u64 {
    use openraft_rt::AsyncRuntime as _;
    use rand::Rng as _;
    Simulated::thread_rng().next_u64()
}

/// A random UUID (version 4).
pub fn random_uuid() -> uuid::Uuid {
    let bits = (u128::from(random_u64()) << 64) | u128::from(random_u64());
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

/// A UUID (version 7) that sorts by `order`: milliseconds, and 4,096 steps within each. What is
/// made one after the other lies side by side wherever rows are kept in the order of their ids.
pub fn ordered_uuid(order: u64) -> uuid::Uuid {
    let [_, _, _, _, _, _, high, low] = (order & 0xfff).to_be_bytes();
    let [a, b, c, d, e, f, g, h] = random_u64().to_be_bytes();
    uuid::Builder::from_unix_timestamp_millis(order >> 12, &[high, low, a, b, c, d, e, f, g, h]).into_uuid()
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    #[test]
    fn ordered_uuids_sort_by_their_order_and_are_told_apart() {
        let order = 1_700_000_000_000 << 12;
        let texts: Vec<String> =
            (0..10_000).map(|step| ordered_uuid(order + step / 2).hyphenated().to_string()).collect();
        let mut pairs = texts
            .chunks(2)
            .map(|pair| pair.iter().max().unwrap().clone())
            .zip(texts.chunks(2).skip(1).map(|pair| pair.iter().min().unwrap().clone()));
        assert!(pairs.all(|(before, after)| before < after));
        assert_eq!(texts.iter().collect::<std::collections::BTreeSet<_>>().len(), texts.len());
        assert_eq!(ordered_uuid(order).get_version_num(), 7);
    }
}
