//! Top: what was typed becomes a [`Command`] with checked settings.
//!
//! Way in: [`parse`]. Runs nothing itself but the two commands that only ask a master
//! ([`ask`]); `daemon` runs the rest.

pub mod ask;
mod exit;
mod explained;
mod foretold;
mod rebalanced;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use exit::{ExitError, disk_advice, exit_code};

use crate::settings::{
    AgentFlags, AgentSettingsFlags, DevFlags, DevSettings, MasterFlags, MasterSettings, SettingsFile,
};

/// What was asked of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be a master.
    Master(MasterSettings),
    /// Be an agent.
    Agent(AgentSettingsFlags),
    /// Be a whole cluster.
    Dev(DevSettings),
    /// Show the agents that a master knows.
    AgentsList {
        /// Who is asked.
        at: MasterAt,
    },
    /// Show the masters.
    MembersList {
        /// Who is asked.
        at: MasterAt,
    },
    /// Say why an app waits, or why its tasks are where they are.
    Explain {
        /// Who is asked.
        at: MasterAt,
        /// Path of the app.
        app: String,
    },
    /// Say what would become of the cluster.
    WhatIf {
        /// Who is asked.
        at: MasterAt,
        /// What to suppose.
        wish: WhatIfFlags,
    },
    /// Say which instances had better be elsewhere, or have them moved.
    Rebalance {
        /// Who is asked.
        at: MasterAt,
        /// What to do.
        flags: RebalanceFlags,
    },
    /// Print a fresh secret for a cluster.
    SecretCreate,
    /// Print what agents are given of a cluster's secret.
    SecretAgent {
        /// Holds the cluster's secret.
        cluster_secret_file: PathBuf,
    },
    /// Put one master in the place of another.
    MembersReplace {
        /// Who is asked.
        at: MasterAt,
        /// Node id or cluster address of the one that goes.
        old: String,
        /// Cluster address of the one that comes.
        new: String,
    },
    /// Be the parent of one process task.
    Shim {
        /// The task's directory.
        dir: PathBuf,
    },
    /// Be the smallest app there is.
    Hello {
        /// Where to listen.
        port: u16,
    },
}

#[derive(Debug, Parser)]
#[command(name = "platformd", version, about, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    /// Settings in TOML, one table per subcommand with the flags as keys
    #[arg(long, global = true, env = "PLATFORMD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Typed,
}

#[derive(Debug, Subcommand)]
enum Typed {
    /// Run a master: the API, the replicated state and its leader's duties
    Master(MasterFlags),
    /// Run an agent: the tasks of one machine
    Agent(AgentFlags),
    /// Run a whole cluster on this machine, and an app on it
    Dev(DevFlags),
    /// Agents, as a master knows them
    #[command(subcommand)]
    Agents(Agents),
    /// Masters of the cluster
    #[command(subcommand)]
    Members(Members),
    /// Why an app waits and what would let it run; why its tasks are where they are
    Explain {
        #[command(flatten)]
        at: MasterAt,
        /// Path of the app, such as /web
        app: String,
    },
    /// What would become of the cluster; exit code 5 when something would wait
    WhatIf {
        #[command(flatten)]
        at: MasterAt,
        #[command(flatten)]
        wish: WhatIfFlags,
    },
    /// Which tasks had better run elsewhere; with --apply they move, replacements first
    Rebalance {
        #[command(flatten)]
        at: MasterAt,
        #[command(flatten)]
        flags: RebalanceFlags,
    },
    /// Secrets that keep strangers off the cluster port
    #[command(subcommand)]
    Secret(Secret),
    /// Answer HTTP with a line of text; the smallest app there is
    #[command(hide = true)]
    Hello {
        /// Where to listen, on every interface
        #[arg(long, env = "PORT0")]
        port: u16,
    },
}

#[derive(Debug, Subcommand)]
enum Agents {
    /// List agents with their state and resources
    List(MasterAt),
}

#[derive(Debug, Subcommand)]
enum Secret {
    /// Print a fresh secret: keep it on the masters' machines, readable by them alone
    Create,
    /// Print what agents are given of it: with this a machine can be an agent, and nothing else
    Agent {
        /// The cluster's secret
        #[arg(long, env = "PLATFORMD_CLUSTER_SECRET_FILE", value_name = "FILE")]
        cluster_secret_file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Members {
    /// List masters with their state
    List(MasterAt),
    /// Put a new master in the place of one that is lost
    Replace {
        #[command(flatten)]
        at: MasterAt,
        /// Node id or cluster address of the lost master
        old: String,
        /// Cluster address of the new one, already running
        new: String,
    },
}

/// A master that is asked.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct MasterAt {
    /// Any master's API
    #[arg(long, env = "PLATFORMD_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// File whose first line NAME:PASSWORD is shown to the master
    #[arg(long, env = "PLATFORMD_HTTP_CREDENTIALS", value_name = "FILE")]
    pub http_credentials: Option<PathBuf>,
}

/// What to suppose; each may be said more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct WhatIfFlags {
    /// An agent is lost: its id or host name
    #[arg(long, value_name = "AGENT")]
    pub lose: Vec<String>,
    /// An agent is emptied and gets nothing new: its id or host name
    #[arg(long, value_name = "AGENT")]
    pub drain: Vec<String>,
    /// So many agents join, with 'cpus:8;mem:16384'; other words are attributes: 'cpus:8;mem:16384;rack:r9'
    #[arg(long, num_args = 2, value_names = ["COUNT", "RESOURCES"])]
    pub add: Vec<String>,
    /// An app gets so many instances
    #[arg(long, num_args = 2, value_names = ["APP", "INSTANCES"])]
    pub scale: Vec<String>,
    /// An app comes, or changes: the file that would be PUT
    #[arg(long, value_name = "FILE")]
    pub app: Vec<PathBuf>,
    /// An app goes
    #[arg(long, value_name = "APP")]
    pub delete: Vec<String>,
    /// Deployments in the way are cancelled
    #[arg(long)]
    pub force: bool,
}

/// What to do about tasks that had better run elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RebalanceFlags {
    /// Only say it, as without a flag
    #[arg(long, conflicts_with_all = ["apply", "stop"])]
    pub plan: bool,
    /// Have them moved
    #[arg(long, conflicts_with = "stop")]
    pub apply: bool,
    /// Take back what was asked and not done yet
    #[arg(long)]
    pub stop: bool,
    /// So many may move at a time [default: 10]
    #[arg(long, value_name = "COUNT")]
    pub max_moves: Option<u32>,
    /// So many of one app may move at a time [default: 2]
    #[arg(long, value_name = "COUNT")]
    pub max_moves_per_app: Option<u32>,
}

/// Reads this process' arguments, environment and settings file.
///
/// # Errors
/// Help and version as an "error" with exit code 0; anything that cannot be used with code 2.
pub fn parse() -> Result<Command, ExitError> {
    parse_from(std::env::args_os())
}

/// [`parse`] for given arguments, the first being the program's name.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ExitError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // A shim is as small as can be and lives as long as its task: no help, no environment, no file.
    if let [_, word, dir] = arguments.as_slice()
        && word == "shim"
    {
        return Ok(Command::Shim { dir: PathBuf::from(dir) });
    }
    let typed = Arguments::try_parse_from(arguments).map_err(|error| ExitError::from_clap(&error))?;
    let file = SettingsFile::load(typed.config.as_deref())?;
    Ok(match typed.command {
        Typed::Master(flags) => Command::Master(MasterSettings::from_flags(flags.or(file.master))?),
        Typed::Agent(flags) => Command::Agent(AgentSettingsFlags::from_flags(flags.or(file.agent))?),
        Typed::Dev(flags) => Command::Dev(DevSettings::from_flags(flags.or(file.dev))?),
        Typed::Agents(Agents::List(at)) => Command::AgentsList { at },
        Typed::Members(Members::List(at)) => Command::MembersList { at },
        Typed::Members(Members::Replace { at, old, new }) => Command::MembersReplace { at, old, new },
        Typed::Explain { at, app } => Command::Explain { at, app },
        Typed::WhatIf { at, wish } => Command::WhatIf { at, wish },
        Typed::Rebalance { at, flags } => Command::Rebalance { at, flags },
        Typed::Secret(Secret::Create) => Command::SecretCreate,
        Typed::Secret(Secret::Agent { cluster_secret_file }) => Command::SecretAgent { cluster_secret_file },
        Typed::Hello { port } => Command::Hello { port },
    })
}

/// Whether these words, without the program's name, ask for a process that runs until somebody
/// stops it. Words that are wrong may be taken for either.
pub fn runs_until_stopped(words: &[OsString]) -> bool {
    let mut words = words.iter();
    let mut command = words.next();
    while let Some(flag) = command.filter(|word| word.as_encoded_bytes().starts_with(b"--")) {
        if flag == "--config" {
            words.next();
        }
        command = words.next();
    }
    command.is_some_and(|word| ["master", "agent", "dev"].iter().any(|role| word == role))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse_words(words: &str) -> Result<Command, ExitError> {
        parse_from(std::iter::once("platformd").chain(words.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn the_command_tree_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_twin_in_the_environment() {
        for subcommand in Arguments::command().get_subcommands() {
            for argument in subcommand.get_arguments().filter(|argument| !argument.is_positional()) {
                let Some(long) = argument.get_long() else { continue };
                if ["help", "version", "config"].contains(&long)
                    || ["hello", "what-if", "rebalance"].contains(&subcommand.get_name())
                {
                    continue;
                }
                let twin = format!("PLATFORMD_{}", long.replace('-', "_").to_uppercase());
                assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(twin.as_str()));
            }
        }
    }

    #[test]
    fn words_become_commands() {
        let Command::Dev(dev) = parse_words("dev --fresh app.json --masters 3").unwrap() else {
            panic!("not dev");
        };
        assert!(dev.fresh);
        assert_eq!((dev.file, dev.masters), (Some(PathBuf::from("app.json")), Some(3)));
        assert_eq!(parse_words("shim /x").unwrap(), Command::Shim { dir: "/x".into() });
        let Command::WhatIf { wish, .. } =
            parse_words("what-if --lose a --add 2 cpus:8;mem:1 --add 1 cpus:1;mem:1 --scale /web 50")
                .unwrap()
        else {
            panic!("not what-if");
        };
        assert_eq!((wish.lose.len(), wish.add.len(), wish.scale), (1, 4, vec!["/web".into(), "50".into()]));
        assert_eq!(
            parse_words("members replace 7 127.0.0.1:5052 --url http://m:1").unwrap(),
            Command::MembersReplace {
                at: MasterAt { url: "http://m:1".into(), http_credentials: None },
                old: "7".into(),
                new: "127.0.0.1:5052".into()
            }
        );
    }

    #[test]
    fn roles_are_told_from_questions() {
        let runs = |words: &str| {
            runs_until_stopped(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
        };
        for words in ["master", "agent --http 1:2", "--config f dev app.json", "--config=f master"] {
            assert!(runs(words), "{words}");
        }
        for words in ["", "secret agent", "--config dev members list", "hello", "--help", "--version"] {
            assert!(!runs(words), "{words}");
        }
    }

    #[test]
    fn what_is_wrong_with_words_is_the_last_line() {
        for (words, what) in [
            ("master --frobnicate", "'--frobnicate'"),
            ("dev --agents -1", "-1"),
            ("dev --agents many", "'many'"),
            ("members replace", "<OLD> <NEW>"),
            ("rebalance --apply --stop", "--stop"),
            ("frobnicate", "'frobnicate'"),
            ("", "no command"),
            ("agents", "no command"),
        ] {
            let error = parse_words(words).unwrap_err();
            let last = error.message.lines().last().unwrap_or_default();
            assert!(last.starts_with("error: ") && last.contains(what), "{words:?}: {:?}", error.message);
            assert_eq!(error.code, exit_code::USAGE);
        }
    }

    #[test]
    fn bad_words_end_with_code_2_and_help_with_0() {
        assert_eq!(parse_words("master --masters a").unwrap_err().code, exit_code::USAGE);
        assert_eq!(parse_words("master --nonsense").unwrap_err().code, exit_code::USAGE);
        assert_eq!(parse_words("--config /nonexistent.toml dev").unwrap_err().code, exit_code::USAGE);
        assert_eq!(parse_words("--help").unwrap_err().code, exit_code::OK);
    }
}
