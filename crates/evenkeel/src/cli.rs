//! The command line: one definition of every verb and option, from which parser, help, man pages and shell
//! completions come.

mod examples;
#[cfg(test)]
mod tests;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use evenkeel_balance::Algorithm;
use evenkeel_base::{PoolName, TargetAddr};

use crate::client::{ApiUrl, Token};
use crate::color::Color;
use crate::screen::Failure;
pub(crate) use values::{AdminBind, Limit, Probe, States};

/// Algorithms by name, for help and completions.
fn algorithms() -> impl Iterator<Item = &'static str> {
    Algorithm::ALL.iter().map(|algorithm| algorithm.as_str())
}

/// Balances TCP and HTTP over many servers.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, after_help = examples::top(), max_term_width = 100)]
#[command(arg_required_else_help = true, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the admin API is: http://HOST:PORT or unix:/path [env: EVENKEEL_ADMIN] [default: http://127.0.0.1:9900]
    #[arg(long, visible_alias = "admin-url", value_name = "URL", global = true)]
    pub(crate) api: Option<ApiUrl>,
    /// Token for the admin API; the variable keeps it out of the process list [env: EVENKEEL_ADMIN_TOKEN]
    #[arg(long, value_name = "TOKEN", global = true)]
    pub(crate) token: Option<Token>,
    /// Colour what is said: auto, always or never; NO_COLOR is honoured
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", hide_possible_values = true)]
    pub(crate) color: Color,
}

impl Global {
    /// Refuses what would be ignored.
    ///
    /// # Errors
    /// When the verb does not talk to a running process, and is told how to.
    pub(crate) fn check(&self, verb: &Verb) -> Result<(), Failure> {
        if verb.calls_api() || (self.api.is_none() && self.token.is_none()) {
            return Ok(());
        }
        let option = if self.api.is_some() { "--api" } else { "--token" };
        Err(Failure::usage(format!(
            "{option} is for verbs that talk to a running evenkeel; to serve, [admin] in the configuration (or --admin) \
             says where the API listens"
        )))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve what a configuration file says
    #[command(after_help = examples::run())]
    Run(Run),
    /// Try it: a balancer, three small origins and the admin API, all on loopback
    #[command(after_help = examples::DEMO)]
    Demo,
    /// Balance HTTP without a configuration file
    #[command(after_help = examples::HTTP)]
    Http(OneLine),
    /// Balance TCP without a configuration file
    #[command(after_help = examples::TCP)]
    Tcp(OneLine),
    /// Check a configuration file and print every problem
    #[command(after_help = examples::CHECK)]
    Check(Check),
    /// Make the running process read its configuration again, and print what changed
    #[command(after_help = examples::RELOAD)]
    Reload,
    /// Show what the running process does
    #[command(after_help = examples::STATUS)]
    Status(Status),
    /// Change the targets of a pool while it serves
    #[command(subcommand, after_help = examples::TARGET, subcommand_value_name = "CHANGE", subcommand_help_heading = "Changes")]
    Target(Target),
    /// Act on client connections
    #[command(subcommand, after_help = examples::CONNECTION)]
    Connection(Connection),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(Completions),
    /// Print the manual page, or write one page per verb
    #[command(after_help = examples::MAN)]
    Man(Man),
}

impl Verb {
    /// Whether it talks to a running process.
    fn calls_api(&self) -> bool {
        matches!(self, Self::Reload | Self::Status(_) | Self::Target(_) | Self::Connection(_))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = "evenkeel.toml", value_hint = clap::ValueHint::FilePath)]
    pub(crate) config: PathBuf,
}

/// A listener and a pool in one line.
#[derive(Debug, Clone, Args)]
pub(crate) struct OneLine {
    /// Address to accept on, such as :8080, 127.0.0.1:8080, [::1]:8080 or unix:/run/app.sock
    pub(crate) listen: String,
    /// Where the work goes: HOST:PORT, [IPV6]:PORT or unix:/path
    #[arg(required = true, value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// How a target is chosen
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(algorithms()), default_value = Algorithm::RoundRobin.as_str())]
    pub(crate) algorithm: String,
    /// Probe the targets: a path to ask for by HTTP, or tcp
    #[arg(long, value_name = "PATH|tcp")]
    pub(crate) health: Option<Probe>,
    /// Send a client (by IP address) to the target it had before
    #[arg(long)]
    pub(crate) sticky: bool,
    /// Where the admin API listens, or off. Beyond loopback it takes EVENKEEL_ADMIN_TOKEN, which guards it whenever
    /// it is set
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:9900")]
    pub(crate) admin: AdminBind,
    /// Data workers; one per CPU when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(values::MAX_WORKERS)))]
    pub(crate) workers: Option<u16>,
    /// Print the configuration file that means the same, and end
    #[arg(long)]
    pub(crate) print_config: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration file; - reads standard input
    #[arg(required_unless_present = "schema", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Print the JSON schema of a configuration instead, for editors that complete by one
    #[arg(long, conflicts_with = "file")]
    pub(crate) schema: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Status {
    /// What to list: pools, targets, listeners, clients or connections; all at a glance when left out
    #[arg(hide_possible_values = true)]
    pub(crate) view: Option<View>,
    /// Print JSON, with plain numbers, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Print it again each second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// Only targets in this state; healthy is up, unhealthy is down, ejected or unresolved
    #[arg(long = "status", value_name = "WORD", value_parser = values::states(), hide_possible_values = true)]
    pub(crate) states: Option<States>,
    /// Only this pool
    #[arg(long, value_name = "NAME", value_parser = PoolName::new)]
    pub(crate) pool: Option<PoolName>,
}

/// What `status` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    /// Pools
    Pools,
    /// Targets of all pools
    Targets,
    /// Listeners
    Listeners,
    /// Clients that pools with affinity remember
    Clients,
    /// Open client connections
    Connections,
}

/// A target of a pool.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Name of the pool
    #[arg(value_parser = PoolName::new)]
    pub(crate) pool: PoolName,
    /// Address of the target: HOST:PORT, [IPV6]:PORT or unix:/path
    pub(crate) address: TargetAddr,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Target {
    /// Add a target
    #[command(after_help = examples::TARGET_ADD)]
    Add {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        share: Share,
        #[command(flatten)]
        save: Save,
    },
    /// Remove a target; requests and connections in flight go on
    #[command(after_help = examples::TARGET_REMOVE)]
    Remove {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        save: Save,
    },
    /// Change a target's weight, priority or limit
    #[command(after_help = examples::TARGET_SET)]
    #[command(group = ArgGroup::new("share").args(["weight", "priority", "max_connections"]).required(true).multiple(true))]
    Set {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        share: Share,
        #[command(flatten)]
        save: Save,
    },
    /// Let a target finish what it has, and give it nothing new
    #[command(after_help = examples::TARGET_DRAIN)]
    Drain {
        #[command(flatten)]
        place: Place,
        /// Wait until nothing is in flight there any more
        #[arg(long)]
        wait: bool,
        /// Give up waiting after so long, such as 30s; without it, wait as long as it takes
        #[arg(long, value_name = "TIME", requires = "wait", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Give a drained or disabled target work again
    #[command(after_help = examples::TARGET_ENABLE)]
    Enable {
        #[command(flatten)]
        place: Place,
    },
    /// Give a target nothing at all, remembered clients included
    #[command(after_help = examples::TARGET_DISABLE)]
    Disable {
        #[command(flatten)]
        place: Place,
    },
}

/// How much work a target gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
// The group that clap would make of it is the one of `set`.
#[group(skip)]
pub(crate) struct Share {
    /// Its share relative to the others, 0 to 1000; 0 drains
    #[arg(long, value_name = "N", value_parser = values::weight())]
    pub(crate) weight: Option<u16>,
    /// Lower is preferred; higher numbers wait until all lower ones are unavailable
    #[arg(long, value_name = "N", value_parser = values::priority())]
    pub(crate) priority: Option<u16>,
    /// Requests or connections at once, over all workers
    #[arg(long, value_name = "N|none")]
    pub(crate) max_connections: Option<Limit>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Save {
    /// Write it to the configuration file as well; comments there are kept
    #[arg(long)]
    pub(crate) save: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Connection {
    /// Cut one connection
    #[command(after_help = examples::CONNECTION)]
    Close {
        /// As `evenkeel status connections` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// For which shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for each verb into this folder instead
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

/// The definition as clap has it.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line.
///
/// # Errors
/// What is wrong with it; also help and version, which are printed and end the process, too.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let words: Vec<_> = std::env::args_os().collect();
    let color = color_wish(words.iter().filter_map(|word| word.to_str()));
    crate::color::choose(color);
    let matches = command().color(color.into()).try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

/// `--color`, before anything is parsed: what the parser says is coloured, too. A wrong word is left for it to tell.
fn color_wish<'a>(mut words: impl Iterator<Item = &'a str>) -> Color {
    let mut wish = None;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--color") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None if word == "--" => break,
            None => None,
        };
        wish = value.and_then(|value| Color::from_str(value, false).ok()).or(wish);
    }
    wish.unwrap_or_default()
}
