//! Ends whatever a task left running.
//!
//! Way in: [`end_all`]. Members of the task's session and cgroups are killed, and so is
//! every orphan that the kernel hands to this process as their reaper.

use std::thread;
use std::time::Duration;

use rustix::process::{WaitOptions, wait};

use crate::agent::driver::cgroup::TaskCgroups;
use crate::agent::known_process::{self, KnownProcess};

/// Killed processes are gone at once unless the kernel holds them; then we do not wait for ever
/// but look so often: about 5 s.
const LOOKS_MAX: usize = 2500;
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// Kills what the task left, and reaps it.
pub(crate) fn end_all(task: &KnownProcess, cgroups: &TaskCgroups) {
    let me = std::process::id().cast_signed();
    task.kill_session();
    let mut looks = 0;
    loop {
        cgroups.kill_all();
        known_process::children_of(me).into_iter().for_each(known_process::kill);
        match wait(WaitOptions::NOHANG) {
            // A reaped orphan may leave us its own children: look again at once.
            Ok(Some(_)) => {}
            Ok(None) if looks < LOOKS_MAX => {
                looks += 1;
                thread::sleep(LOOK_PAUSE);
            }
            Ok(None) | Err(_) => return,
        }
    }
}
