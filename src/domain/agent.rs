//! A machine that runs tasks, as it describes itself.

use serde::{Deserialize, Serialize};

use super::attribute::Attributes;
use super::resources::Resources;
use super::role::Reserved;
use super::{AgentId, Timestamp};

/// What an agent says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Persisted identity.
    pub id: AgentId,
    /// Name of the machine; tasks see it as `HOST` and clients dial it.
    pub hostname: String,
    /// Address of the agent's own HTTP server, as given.
    #[serde(default)]
    pub http: String,
    /// All that may be used by tasks.
    pub totals: Resources,
    /// What of that is kept for roles.
    #[serde(default, skip_serializing_if = "Reserved::is_empty")]
    pub reserved: Reserved,
    /// Facts for constraints.
    #[serde(default)]
    pub attributes: Attributes,
    /// Which run of the agent's process speaks.
    pub incarnation: Incarnation,
    /// Runs containers, not only processes.
    #[serde(default)]
    pub has_docker: bool,
    /// Version of the binary.
    #[serde(default)]
    pub version: String,
}

/// One run of an agent's process. Tasks belong to agent id + boot id and survive incarnations.
///
/// Two runs of one boot in one place come after another: the directory's lock lets no two of
/// them live at once. Of any other two with one id, one speaks from a copy of the directory, or
/// the machine was started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// The machine's boot, from the kernel.
    pub boot_id: String,
    /// When the process started; orders incarnations within one boot.
    pub started: Timestamp,
    /// Counts up on disk at every start; breaks ties.
    #[serde(default)]
    pub run: u64,
    /// Which data directory of the boot: the file that locks it, as the kernel knows it. A copy
    /// of the directory is another place. Empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
}

impl Incarnation {
    /// Whether the two may live at once: of another boot, or of another directory of the same one.
    pub fn is_elsewhere(&self, other: &Self) -> bool {
        let is_known = !self.place.is_empty() && !other.place.is_empty();
        self.boot_id != other.boot_id || (is_known && self.place != other.place)
    }

    /// Whether it is over because `later`, of the same boot and place, came after it. A clock may
    /// have been set back, or the count been restored from a backup; not both are believed.
    pub fn is_over_since(&self, later: &Self) -> bool {
        if self.place.is_empty() || later.place.is_empty() {
            return (self.started, self.run) < (later.started, later.run);
        }
        self.started < later.started && self.run < later.run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incarnation(boot: &str, place: &str, started: i64, run: u64) -> Incarnation {
        let started = Timestamp::from_millis(started);
        Incarnation { boot_id: boot.to_owned(), started, run, place: place.to_owned() }
    }

    #[test]
    fn another_boot_or_directory_is_elsewhere() {
        let known = incarnation("boot", "1:2", 5, 5);
        let is_elsewhere = |boot, place| known.is_elsewhere(&incarnation(boot, place, 9, 9));
        assert!(!is_elsewhere("boot", "1:2"), "a restart");
        assert!(is_elsewhere("boot", "1:3"), "a copy on the same machine");
        assert!(is_elsewhere("boot 2", "1:2"), "another machine, or the same one started again");
        assert!(!is_elsewhere("boot", ""), "an agent that does not tell is taken at its word");
    }

    #[test]
    fn only_what_is_earlier_by_clock_and_count_is_over() {
        let known = incarnation("boot", "1:2", 5, 5);
        let is_over = |started, run| incarnation("boot", "1:2", started, run).is_over_since(&known);
        assert!(is_over(4, 4));
        assert!(!is_over(5, 5), "itself");
        assert!(!is_over(4, 6), "the clock was set back");
        assert!(!is_over(6, 2), "the directory was restored from a backup");
        assert!(incarnation("boot", "", 4, 6).is_over_since(&known), "without a place as ever");
    }
}
