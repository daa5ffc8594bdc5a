use std::time::Duration;

use clap::error::ErrorKind;
use evenkeel_api::TargetState;

use super::*;
use crate::exit::Exit;

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("evenkeel").chain(line.split_whitespace()))
}

fn verb(line: &str) -> Verb {
    parsed(line).unwrap_or_else(|error| panic!("{line}: {error}")).verb
}

fn refused(line: &str) -> String {
    let error = parsed(line).unwrap_err();
    assert!(error.use_stderr(), "{line}");
    assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
    error.to_string()
}

/// The command and all below it, with their full names.
fn all(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
    let mut list = vec![(name.to_owned(), command.clone())];
    for part in command.get_subcommands() {
        list.extend(all(part, &format!("{name} {}", part.get_name())));
    }
    list
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn every_help_has_an_example_of_its_own_verb() {
    for (name, mut command) in all(&command(), "evenkeel") {
        for help in [command.render_help().to_string(), command.render_long_help().to_string()] {
            let (_, examples) =
                help.split_once("\nExample").unwrap_or_else(|| panic!("{name} has none:\n{help}"));
            let own = name.split(" close").next().unwrap_or_default();
            assert!(examples.contains(&format!("  {own}")), "{name} is not in its examples:\n{help}");
        }
    }
}

#[test]
fn every_example_is_a_command_line_that_parses() {
    let mut tried = 0;
    for (name, mut command) in all(&command(), "evenkeel") {
        let help = command.render_help().to_string();
        let (_, examples) = help.split_once("\nExample").unwrap();
        for line in examples.lines().filter_map(|line| line.trim().strip_prefix("evenkeel ")) {
            let line = line.split(['>', '|']).next().unwrap();
            parsed(line).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn help_of_run_tells_signals_and_exit_codes() {
    let help = parsed("run --help").unwrap_err().to_string();
    assert!(help.contains("HUP") && help.contains("TERM"), "{help}");
    for exit in Exit::ALL {
        assert!(help.contains(&format!("{:>3}  {}", exit.code(), exit.meaning())), "{help}");
    }
}

#[test]
fn the_variables_and_defaults_are_in_the_help() {
    let help = parsed("status --help").unwrap_err().to_string();
    for word in
        ["EVENKEEL_ADMIN]", "EVENKEEL_ADMIN_TOKEN]", "http://127.0.0.1:9900", "--admin-url", "NO_COLOR"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for (line, kind) in [("--help", ErrorKind::DisplayHelp), ("--version", ErrorKind::DisplayVersion)] {
        let error = parsed(line).unwrap_err();
        assert_eq!((error.kind(), error.use_stderr()), (kind, false));
    }
    assert_eq!(
        parsed("--version").unwrap_err().to_string(),
        format!("evenkeel {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(refused("").contains("Usage"));
}

#[test]
fn run_has_a_default_file() {
    let Verb::Run(run) = verb("run") else { panic!() };
    assert_eq!(run.config, PathBuf::from("evenkeel.toml"));
    let Verb::Run(run) = verb("run -c /etc/e.toml") else { panic!() };
    assert_eq!(run.config, PathBuf::from("/etc/e.toml"));
    assert!(matches!(verb("demo"), Verb::Demo));
}

#[test]
fn one_liners_take_options_before_and_after() {
    let Verb::Tcp(line) = verb("tcp :3306 db1:3306 db2:3306 --algorithm least-connections") else { panic!() };
    assert_eq!((line.listen.as_str(), line.targets.len()), (":3306", 2));
    assert_eq!(line.algorithm, "least-connections");
    assert!(line.health.is_none() && !line.sticky && !line.print_config && line.workers.is_none());
    let Verb::Http(line) =
        verb("http --sticky --health /up --admin off --workers 2 --print-config :80 a:1 b:1")
    else {
        panic!()
    };
    assert_eq!(line.health, Some(Probe::Http("/up".into())));
    assert_eq!((line.admin, line.workers), (AdminBind::Off, Some(2)));
    assert!(line.sticky && line.print_config);
    assert!(refused("http :80").contains("TARGET"));
    assert!(refused("http :80 a:1 --algorithm fastest").contains("least-connections"));
    assert!(refused("http :80 a:1 --workers 0").contains("1..=1024"));
    assert!(refused("http :80 a:1 --admin nowhere").contains("the port is missing"));
    assert!(refused("http :80 a:1 --health up").contains("/healthz"));
}

#[test]
fn algorithms_are_those_of_the_configuration() {
    let schema = evenkeel_config::json_schema();
    let known = &schema["properties"]["pool"]["additionalProperties"]["properties"]["algorithm"]["enum"];
    assert_eq!(*known, serde_json::json!(algorithms().collect::<Vec<_>>()));
}

#[test]
fn check_takes_a_file_or_prints_the_schema() {
    let Verb::Check(check) = verb("check -") else { panic!() };
    assert_eq!(check.file, Some("-".into()));
    let Verb::Check(check) = verb("check --schema") else { panic!() };
    assert!(check.schema);
    refused("check");
    refused("check a.toml --schema");
}

#[test]
fn status_knows_its_words() {
    let Verb::Status(status) = verb("status") else { panic!() };
    assert!(status.view.is_none() && status.states.is_none());
    for word in TargetState::WORDS {
        let Verb::Status(status) = verb(&format!("status targets --status {word} --pool app --json --watch"))
        else {
            panic!()
        };
        assert_eq!(status.states, Some(States(vec![word.parse().unwrap()])));
        assert!(status.json && status.watch);
    }
    let error = refused("status targets --status helthy");
    for word in ["up", "draining", "ejected", "healthy"] {
        assert!(error.contains(word), "{error}");
    }
    assert!(refused("status agents").contains("connections"));
    assert!(refused("status --pool a/b").contains("'/'"));
}

#[test]
fn every_change_of_a_target_is_understood() {
    let Verb::Target(Target::Add { place, share, save }) =
        verb("target add app [::1]:80 --weight 3 --priority 1 --max-connections none --save")
    else {
        panic!()
    };
    assert_eq!((place.pool.as_str(), place.address.to_string().as_str()), ("app", "[::1]:80"));
    assert_eq!(share, Share { weight: Some(3), priority: Some(1), max_connections: Some(Limit(None)) });
    assert!(save.save);
    let Verb::Target(Target::Drain { wait, timeout, .. }) = verb("target drain app a:1 --wait --timeout 90s")
    else {
        panic!()
    };
    assert_eq!((wait, timeout), (true, Some(Duration::from_secs(90))));
    assert!(matches!(verb("target remove app a:1"), Verb::Target(Target::Remove { .. })));
    assert!(matches!(verb("target set app a:1 --weight 0"), Verb::Target(Target::Set { .. })));
    assert!(matches!(verb("target enable app a:1"), Verb::Target(Target::Enable { .. })));
    assert!(matches!(verb("target disable app a:1"), Verb::Target(Target::Disable { .. })));
}

#[test]
fn wrong_changes_are_refused_before_anything_is_sent() {
    for (line, cause) in [
        ("target add app nohost", "the port is missing"),
        ("target add a/b a:1", "'/'"),
        ("target add app a:1 --weight 1001", "0..=1000"),
        ("target add app a:1 --max-connections 0", "or none"),
        ("target set app a:1", "--weight"),
        ("target drain app a:1 --timeout 3s", "--wait"),
        ("target drain app a:1 --wait --timeout soon", "500ms"),
        ("target enable app a:1 --weight 3", "--weight"),
        ("target", "Usage"),
        ("connection close", "ID"),
        ("nonsense", "nonsense"),
    ] {
        let error = refused(line);
        assert!(error.contains(cause), "{line}: {error}");
    }
}

#[test]
fn global_options_stand_anywhere_but_not_where_they_would_be_ignored() {
    for line in ["--api http://h:1 --token t status", "status --admin-url http://h:1 --token t"] {
        let cli = parsed(line).unwrap();
        assert_eq!(cli.global.api.as_ref().unwrap().to_string(), "http://h:1");
        assert!(cli.global.token.is_some());
        cli.global.check(&cli.verb).unwrap();
    }
    for line in ["run --api http://h:1", "--token t demo", "check x --token t"] {
        let cli = parsed(line).unwrap();
        assert_eq!(cli.global.check(&cli.verb).unwrap_err().exit, Exit::Usage, "{line}");
    }
    assert!(refused("status --api lb1").contains("the port is missing"));
    assert!(refused("status --color sometimes").contains("sometimes"));
}

#[test]
fn the_colour_is_known_before_the_rest_is_understood() {
    let wish = |line: &str| color_wish(line.split_whitespace());
    assert_eq!(wish("evenkeel nonsense --color always"), Color::Always);
    assert_eq!(wish("evenkeel --color=never x"), Color::Never);
    assert_eq!(wish("evenkeel --color=never --color always"), Color::Always);
    assert_eq!(wish("evenkeel --color sometimes"), Color::Auto);
    assert_eq!(wish("evenkeel check -- --color=never"), Color::Auto);
    assert_eq!(wish("evenkeel --color"), Color::Auto);
}

#[test]
fn completions_and_man_pages_are_asked_for() {
    assert!(matches!(verb("completions zsh"), Verb::Completions(_)));
    let Verb::Man(man) = verb("man --dir /tmp/x") else { panic!() };
    assert!(man.dir.is_some());
    assert!(refused("completions tcsh").contains("bash"));
}
