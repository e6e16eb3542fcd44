//! Small requests beside the storm: how long a person waits meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::ask;

/// Pause between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes and reads of a small app, again and again.
pub struct Probe {
    stop: Arc<AtomicBool>,
    running: JoinHandle<(Vec<f64>, Vec<f64>, usize)>,
}

/// In milliseconds.
pub struct Latencies {
    pub write_p50: f64,
    pub write_p99: f64,
    pub read_p50: f64,
    pub read_p99: f64,
    /// Requests that were not answered as they should be.
    pub failed: usize,
}

impl Probe {
    pub fn start(http: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let running = std::thread::spawn(move || {
            let (mut writes, mut reads) = (Vec::new(), Vec::new());
            let (mut turn, mut failed) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                turn += 1;
                let app = json!({"id": "/small", "cmd": format!("sleep {turn}"), "instances": 0});
                let began = Instant::now();
                let answer = ask(&http, "PUT", "/v2/apps/small?force=true", &app.to_string());
                let status = answer.map_or(0, |answer| answer.status);
                if status != 200 && status != 201 {
                    println!("  a small write was answered with {status}");
                    failed += 1;
                }
                writes.push(began.elapsed().as_secs_f64() * 1e3);
                let began = Instant::now();
                let answer = ask(&http, "GET", "/v2/apps/small", "");
                failed += usize::from(answer.map_or(0, |answer| answer.status) != 200);
                reads.push(began.elapsed().as_secs_f64() * 1e3);
                std::thread::sleep(PAUSE);
            }
            (writes, reads, failed)
        });
        Self { stop, running }
    }

    pub fn stop(self) -> Latencies {
        self.stop.store(true, Ordering::Relaxed);
        let (mut writes, mut reads, failed) = self.running.join().expect("the probe");
        writes.sort_by(f64::total_cmp);
        reads.sort_by(f64::total_cmp);
        let at = |times: &[f64], percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        Latencies {
            write_p50: at(&writes, 50),
            write_p99: at(&writes, 99),
            read_p50: at(&reads, 50),
            read_p99: at(&reads, 99),
            failed,
        }
    }
}
