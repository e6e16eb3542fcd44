//! Says for people how a task ended.

use super::driver::Ended;
use crate::domain::TaskLaunch;

/// The boot id of the machine is another than when the task was started.
pub(super) const RESTARTED_MACHINE: &str = "the machine was restarted";

/// Somebody else removed it: nothing tells how it ended.
pub(super) const VANISHED: &str = "the task vanished from its machine; nothing tells how it ended";

/// Names of the signals that commonly end tasks.
const SIGNALS: [(i32, &str); 10] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (15, "SIGTERM"),
];

/// What the driver says, or code, signal or memory.
pub(super) fn of(ended: &Ended, launch: &TaskLaunch) -> String {
    if !ended.message.is_empty() {
        return ended.message.clone();
    }
    let exit = &ended.exit;
    match (exit.out_of_memory, exit.signal, exit.code) {
        (true, ..) => format!("Command ran out of memory: the limit is {} MiB", launch.resources.mem),
        (false, Some(signal), _) => match SIGNALS.iter().find(|(number, _)| *number == signal) {
            Some((_, name)) => format!("Command terminated with signal {name}"),
            None => format!("Command terminated with signal {signal}"),
        },
        (false, None, Some(code)) => format!("Command exited with status {code}"),
        (false, None, None) => "ended; nothing tells how".to_owned(),
    }
}
