//! Every verb of the command line against a running process: what it shows, what it ends with, and how it says no.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use evenkeel_testkit::{Cause, Evenkeel, Hang, Launch, Load, LoadPlan, Origin, TempDir, judge, wait_until};
use serde_json::Value;

use crate::support::{BIN, http, start, tcp};
use crate::world::{Kept, MOMENT, Said, config_text, number, target, tell, verb, verb_with};

/// Two targets, of which the second is probed and down, a pool that remembers its clients, and one client.
fn busy() -> (Origin, Evenkeel, Kept, String) {
    let origin = Origin::start("a");
    let closed = evenkeel_testkit::reserve_port().addr().to_string();
    let more = "[pool.app.affinity]\nby = \"client-ip\"\n[pool.app.health]\ncheck = \"tcp\"\n\
                interval = \"50ms\"\ntimeout = \"50ms\"\nrise = 1\nfall = 1\n\
                [pool.spare]\nemergency = \"127.0.0.1:1\"\ntargets = []\n";
    let proxy = start(&http(&[origin.addr().to_string(), closed.clone()], more));
    wait_until("the closed port to be down", MOMENT, || target(&proxy, "app", &closed)["state"] == "down");
    let client = Kept::idle(proxy.listener_addr("web"));
    (origin, proxy, client, closed)
}

/// The rows of a table, header left out.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// An error as people read it: where it comes from, one sentence, no entrails.
#[track_caller]
fn assert_reads(error: &str) {
    assert!(error.starts_with("error: "), "{error}");
    let entrails = ["os error", "Err(", "Some(", "{ ", "panicked", "RUST_BACKTRACE", "Os {", "\u{1b}["];
    assert!(entrails.iter().all(|word| !error.contains(word)), "{error}");
    assert!(error.ends_with('\n') && !error.ends_with("\n\n"), "{error:?}");
}

#[test]
fn status_shows_everything_at_a_glance() {
    let (origin, proxy, _client, closed) = busy();
    let glance = tell(&proxy, &["status"]).fine();
    let (web, config) = (proxy.listener_addr("web").to_string(), proxy.config_path().display().to_string());
    for word in [
        "ready",
        &proxy.pid().to_string(),
        &web,
        &config,
        "2 workers",
        "1 open connection,",
        "1 of 2 targets up",
    ] {
        assert!(glance.contains(word), "{word:?} is missing in\n{glance}");
    }
    // What is wrong stands out, with its cause.
    let trouble = glance.split("Not up:").nth(1).unwrap_or_else(|| panic!("{glance}"));
    assert!(trouble.contains(&closed) && trouble.contains("probe-refused"), "{glance}");
    assert!(!trouble.contains(&origin.addr().to_string()), "{glance}");
}

#[test]
fn status_lists_each_kind_as_a_table_and_as_json() {
    let (origin, proxy, _client, closed) = busy();
    let cases = [
        ("pools", "POOL", vec!["app", "spare"], "name"),
        ("targets", "POOL", vec!["app", "app", "spare"], "pool"),
        ("listeners", "LISTENER", vec!["web"], "name"),
        ("clients", "CLIENT", vec!["127.0.0.1"], "address"),
        ("connections", "ID", vec![""], "listener"),
    ];
    for (view, head, first, key) in cases {
        let table = tell(&proxy, &["status", view]).fine();
        assert!(table.starts_with(head), "{table}");
        let rows = rows(&table);
        assert_eq!(rows.len(), first.len(), "{table}");
        for (row, first) in rows.iter().zip(&first).filter(|(_, first)| !first.is_empty()) {
            assert_eq!(row[0], *first, "{table}");
        }
        let json: Value = serde_json::from_str(&tell(&proxy, &["status", view, "--json"]).fine()).unwrap();
        let list = json.as_array().unwrap();
        assert_eq!(list.len(), first.len(), "{json}");
        assert!(list.iter().all(|entry| entry[key].is_string()), "{json}");
    }
    let targets = tell(&proxy, &["status", "targets"]).fine();
    for (address, state) in [(origin.addr().to_string(), "up"), (closed, "down")] {
        let row =
            rows(&targets).into_iter().find(|row| row[1] == address).unwrap_or_else(|| panic!("{targets}"));
        assert_eq!(row[2], state, "{targets}");
    }
    let glance: Value = serde_json::from_str(&tell(&proxy, &["status", "--json"]).fine()).unwrap();
    assert_eq!(
        (number(&glance["pid"]), &glance["ready"]),
        (u64::from(proxy.pid()), &true.into()),
        "{glance}"
    );
}

#[test]
fn status_filters_and_refuses_words_it_does_not_know() {
    let (origin, proxy, _client, closed) = busy();
    let addresses = |args: &[&str]| -> Vec<String> {
        let table = tell(&proxy, &[&["status", "targets"], args].concat()).fine();
        rows(&table).iter().map(|row| row[1].to_owned()).collect()
    };
    let up = origin.addr().to_string();
    assert_eq!(addresses(&["--status", "healthy", "--pool", "app"]), [up.as_str()]);
    assert_eq!(addresses(&["--status", "unhealthy"]), [closed.as_str()]);
    assert_eq!(addresses(&["--status", "down"]), [closed.as_str()]);
    assert_eq!(addresses(&["--pool", "app"]), [up, closed]);
    assert!(addresses(&["--status", "draining"]).is_empty());
    for (args, words) in [
        (&["status", "targets", "--status", "helthy"][..], &["helthy", "healthy"][..]),
        (&["status", "nonsense"], &["nonsense", "targets"]),
        (&["status", "targets", "--pool", "nowhere"], &["nowhere", "app"]),
        (&["status", "pools", "--status", "up"], &["--status", "targets"]),
        (&["status", "connections", "--pool", "app"], &["--pool"]),
        (&["status", "targets", "--pool", "a b"], &["a b"]),
    ] {
        let error = tell(&proxy, args).refused(2);
        assert_reads(&error);
        assert!(words.iter().all(|word| error.contains(word)), "{args:?}: {words:?} in {error}");
    }
}

#[test]
fn check_tells_good_from_bad() {
    let dir = TempDir::new();
    let good = dir.write("good.toml", "[listener.web]\nbind = \":0\"\nprotocol = \"http\"\npool = \"app\"\n[pool.app]\ntargets = [\"a:1\", \"b:1\"]\n");
    let good = good.to_str().unwrap();
    assert_eq!(verb(&["check", good]).fine(), format!("{good}: ok, 1 listener, 1 pool, 2 targets\n"));
    let bad = dir.write("bad.toml", "[pool.app]\ntargts = []\n");
    let error = verb(&["check", bad.to_str().unwrap()]).refused(78);
    // The place, the line itself, and advice.
    for word in ["bad.toml:2:1", "targts = []", "targets"] {
        assert!(error.contains(word), "{word:?} is missing in\n{error}");
    }
    assert!(!error.contains('\u{1b}'), "colours, where nobody sees them: {error:?}");
    let schema: Value = serde_json::from_str(&verb(&["check", "--schema"]).fine()).unwrap();
    assert!(schema["properties"]["listener"].is_object(), "{schema}");
    assert_reads(&verb(&["check", "/nowhere/x.toml"]).refused(78));
    assert_reads(&verb(&["check", dir.path().to_str().unwrap()]).refused(78));
    assert_reads(&verb(&["check"]).refused(2));
}

#[test]
fn a_one_liner_prints_the_file_that_means_the_same() {
    let args = [
        "http",
        "127.0.0.1:8080",
        "10.0.0.1:80",
        "10.0.0.2:80",
        "--algorithm",
        "maglev",
        "--health",
        "/up",
        "--sticky",
        "--workers",
        "3",
    ];
    let printed = verb(&[&args[..], &["--print-config"]].concat()).fine();
    for word in
        ["maglev", "\"/up\"", "[pool.main.affinity]", "count = 3", "10.0.0.2:80", "protocol = \"http\""]
    {
        assert!(printed.contains(word), "{word:?} is missing in\n{printed}");
    }
    let dir = TempDir::new();
    let path = dir.write("c.toml", &printed);
    assert!(verb(&["check", path.to_str().unwrap()]).fine().ends_with("ok, 1 listener, 1 pool, 2 targets\n"));
    let tcp = verb(&["tcp", ":3306", "db1:3306", "--admin", "off", "--print-config"]).fine();
    assert!(tcp.contains("protocol = \"tcp\"") && tcp.contains("\"off\""), "{tcp}");
}

#[test]
fn one_liners_serve() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let [first, second] = [&a, &b].map(|origin| origin.addr().to_string());
    for protocol in ["http", "tcp"] {
        let args = [protocol, "127.0.0.1:0", &first, &second, "--admin", "unix:{dir}/admin.sock"];
        let proxy = Launch::new(BIN, "").args(&args).start();
        let plan = LoadPlan { requests: Some(40), keep_alive: false, ..LoadPlan::default() };
        let client = Load::run(proxy.listener_addr("main"), plan);
        judge(&client, &[a.journal(), b.journal()]).assert_all_answered(protocol);
        assert_eq!(["a", "b"].map(|name| client.answers_of(name)), [20, 20]);
        assert!(tell(&proxy, &["status"]).fine().contains("no configuration file"));
        // What has no file can neither be reloaded nor saved, and says so.
        let error = tell(&proxy, &["reload"]).refused(1);
        assert_reads(&error);
        assert!(error.contains("without a configuration file"), "{error}");
        let error = tell(&proxy, &["target", "add", "main", "127.0.0.1:9", "--save"]).refused(1);
        assert!(error.contains("no configuration file"), "{error}");
        assert_eq!(target(&proxy, "main", "127.0.0.1:9"), Value::Null, "refused, and yet changed");
    }
}

#[test]
fn one_liners_say_what_is_wrong_with_their_words() {
    for (args, word) in [
        (&["http", "8080", "a:1"][..], "port"),
        (&["http", ":8080"], "TARGET"),
        (&["http", ":8080", "a:1", "a:1"], "twice"),
        (&["http", ":8080", "a"], "port"),
        (&["http", ":8080", "a:1", "--algorithm", "round-robbin"], "round-robin"),
        (&["http", ":8080", "a:1", "--admin", ":9900"], "EVENKEEL_ADMIN_TOKEN"),
        (&["tcp", ":8080", "a:1", "--workers", "0"], "--workers"),
        (&["tcp", ":8080", "a:1", "--helth", "tcp"], "--health"),
        (&["gopher", ":70"], "gopher"),
        (&["--api", "http://127.0.0.1:1", "check", "x"], "--api"),
        (&["status", "--api", "ftp://x"], "--api"),
        (&["target", "add", "app"], "ADDRESS"),
        (&["target", "set", "app", "a:1"], "--weight"),
        (&["target", "add", "app", "a:1", "--weight", "1001"], "1000"),
        (&["completions", "vms"], "vms"),
    ] {
        let error = verb(args).refused(2);
        assert_reads(&error);
        assert!(error.contains(word), "{args:?}: {word:?} is missing in {error}");
    }
}

#[test]
fn a_port_in_use_is_one_line_with_the_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for args in [
        ["http", addr.as_str(), "127.0.0.1:1", "--admin", "off"],
        ["http", "127.0.0.1:0", "127.0.0.1:1", "--admin", addr.as_str()],
    ] {
        let said = verb(&args);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
        assert_reads(&said.stderr);
        assert!(said.stderr.contains(&addr) && said.stderr.contains("another process"), "{said:?}");
        assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
    }
}

#[test]
fn targets_are_added_changed_drained_and_removed() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr()], ""));
    let second = b.addr().to_string();
    let run = |args: &[&str]| tell(&proxy, &[&["target"], args].concat());
    let answers = |requests: u64| {
        let client = Load::run(
            proxy.listener_addr("web"),
            LoadPlan { requests: Some(requests), ..LoadPlan::default() },
        );
        judge(&client, &[a.journal(), b.journal()]).assert_all_answered("targets");
        ["a", "b"].map(|name| client.answers_of(name))
    };
    let said = run(&["add", "app", &second, "--weight", "3"]).fine();
    assert_eq!(said, format!("added {second} in app: up, weight 3, 0 in flight\n"));
    assert_eq!(answers(40), [10, 30]);
    assert!(
        run(&["set", "app", &second, "--weight", "1", "--max-connections", "9"])
            .fine()
            .contains("at most 9 connections")
    );
    assert_eq!(answers(40), [20, 20]);
    assert!(run(&["drain", "app", &second]).fine().starts_with(&format!("draining {second}")));
    assert_eq!(answers(10), [10, 0]);
    assert!(run(&["enable", "app", &second]).fine().contains("up"));
    assert!(run(&["disable", "app", &second]).fine().contains("disabled"));
    assert_eq!(answers(10), [10, 0]);
    assert_eq!(run(&["remove", "app", &second]).fine(), format!("removed {second} in app\n"));
    assert_eq!(target(&proxy, "app", &second), Value::Null);

    let before = config_text(&proxy);
    let first = a.addr().to_string();
    for (args, reason) in [
        (&["add", "app", first.as_str()][..], "already-exists"),
        (&["add", "nowhere", "a:1"], "not-found"),
        (&["remove", "app", "a:1"], "not-found"),
        (&["set", "app", "a:1", "--weight", "1"], "not-found"),
        (&["drain", "app", "a:1"], "not-found"),
        (&["enable", "nowhere", "a:1"], "not-found"),
    ] {
        let error = run(args).refused(1);
        assert_reads(&error);
        assert!(error.contains(reason), "{args:?}: {error}");
    }
    assert_eq!(config_text(&proxy), before);
}

#[test]
fn a_drain_is_followed_to_its_end_or_to_the_end_of_patience() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let first = a.addr().to_string();
    a.set(|behaviour| behaviour.hang = Some(Hang::Answer));
    let mut client = Kept::connect(proxy.listener_addr("web"));
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    a.wait_requests(1);
    let said = tell(&proxy, &["target", "drain", "app", &first, "--wait", "--timeout", "300ms"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), "1 in flight\n"), "{said:?}");
    assert!(said.stderr.contains("still has 1 in flight"), "{said:?}");
    a.behave();
    assert_eq!(client.answer().unwrap().status, 200);
    let said = tell(&proxy, &["target", "drain", "app", &first, "--wait"]).fine();
    assert!(said.ends_with(&format!("drained {first} in app\n")), "{said}");
}

#[test]
fn connection_close_cuts_that_one_and_no_other() {
    let origin = Origin::start("a");
    let proxy = start(&tcp(&[origin.addr()], ""));
    let mut stays = Kept::idle(proxy.listener_addr("web"));
    let ids = || -> Vec<String> {
        let list = proxy.admin_json("/api/v1/connections");
        list.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    };
    let before = ids();
    let leaves = Kept::idle(proxy.listener_addr("web"));
    let id = ids().into_iter().find(|id| !before.contains(id)).unwrap();
    let table = tell(&proxy, &["status", "connections"]).fine();
    assert!(table.contains(&id) && table.contains(&origin.addr().to_string()), "{table}");
    assert_eq!(tell(&proxy, &["connection", "close", &id]).fine(), format!("closed {id}\n"));
    assert!(matches!(leaves.end(), Cause::Closed | Cause::Reset));
    assert_eq!(stays.get("/").unwrap().status, 200);
    wait_until("the end to be counted", MOMENT, || {
        proxy.metric("evenkeel_ends_total", &[r#"reason="closed-by-admin""#]) == 1.0
    });
    for (id, word) in [(id.as_str(), "not-found"), ("nonsense", "bad-input"), ("99-1", "not-found")] {
        let error = tell(&proxy, &["connection", "close", id]).refused(1);
        assert_reads(&error);
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    const VERBS: [&str; 9] =
        ["run", "demo", "http", "tcp", "check", "reload", "status", "target", "connection"];
    for shell in ["bash", "zsh", "fish"] {
        let script = verb(&["completions", shell]).fine();
        assert!(VERBS.iter().all(|verb| script.contains(verb)), "{shell}: {script}");
    }
    let dir = TempDir::new();
    let script = dir.write("evenkeel.bash", &verb(&["completions", "bash"]).fine());
    let loaded = std::process::Command::new("bash").arg("-n").arg(script).output().unwrap();
    assert!(loaded.status.success() && loaded.stderr.is_empty(), "bash does not take it: {loaded:?}");
    let page = verb(&["man"]).fine();
    assert!(page.contains(".TH evenkeel 1") && VERBS.iter().all(|verb| page.contains(verb)), "{page}");
    let folder = dir.path().join("man1");
    verb(&["man", "--dir", folder.to_str().unwrap()]).fine();
    assert!(folder.join("evenkeel-status.1").is_file());
}

#[test]
fn every_verb_has_help_with_an_example() {
    for path in [
        "",
        "run",
        "demo",
        "http",
        "tcp",
        "check",
        "reload",
        "status",
        "target",
        "target add",
        "target remove",
        "target set",
        "target drain",
        "target enable",
        "target disable",
        "connection",
        "connection close",
        "completions",
        "man",
    ] {
        let words: Vec<&str> = path.split_whitespace().chain(["--help"]).collect();
        let help = verb(&words).fine();
        assert!(help.contains("Example") && help.contains("Usage: evenkeel"), "{path}: {help}");
    }
    assert!(verb(&["--version"]).fine().starts_with("evenkeel 0."));
    let bare = verb(&[]);
    assert!(bare.code == Some(2) && bare.stderr.contains("Usage: evenkeel"), "{bare:?}");
}

#[test]
fn a_process_that_is_not_there_is_one_sentence() {
    let nobody = evenkeel_testkit::reserve_port();
    let url = format!("http://{}", nobody.addr());
    let said = |args: &[&str]| verb(&[args, &["--api", &url]].concat()).refused(1);
    for args in
        [&["status"][..], &["reload"], &["target", "add", "app", "a:1"], &["connection", "close", "0-1"]]
    {
        let error = said(args);
        assert_reads(&error);
        assert!(error.contains(&url) && error.contains("is evenkeel running?"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let error = verb(&["status", "--api", "unix:/nowhere/admin.sock"]).refused(1);
    assert!(error.contains("/nowhere/admin.sock") && error.contains("no such file"), "{error}");
    let origin = Origin::start("a");
    let other = verb(&["status", "--api", &format!("http://{}", origin.addr())]).refused(1);
    assert_reads(&other);
    assert!(other.contains("not the admin API"), "{other}");
}

#[test]
fn the_token_is_asked_for_taken_and_never_shown() {
    const TOKEN: &str = "s3cret-and-long";
    let origin = Origin::start("a");
    let config = format!(
        "{}[admin]\nbind = \"unix:{{dir}}/admin.sock\"\ntoken = {{ file = \"{{dir}}/token\" }}\n",
        http(&[origin.addr()], "")
    );
    // The file has to be there before the process is.
    let dir = TempDir::new();
    let file = dir.write("token", &format!("{TOKEN}\n"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let config = config.replace("{dir}/token", file.to_str().unwrap());
    let proxy = Launch::new(BIN, &config).admin_token(TOKEN).start();
    let api = proxy.admin_addr().to_string();
    let status = |args: &[&str], env: &[(&str, &str)]| -> Said {
        verb_with(&[&["status", "--api", &api], args].concat(), env)
    };
    let missing = status(&[], &[]).refused(1);
    assert_reads(&missing);
    assert!(missing.contains("wants a token") && missing.contains("EVENKEEL_ADMIN_TOKEN"), "{missing}");
    let wrong = status(&["--token", "wr0ng-token"], &[]).refused(1);
    assert!(wrong.contains("does not take this token") && !wrong.contains("wr0ng"), "{wrong}");
    status(&["--token", TOKEN], &[]).fine();
    status(&[], &[("EVENKEEL_ADMIN_TOKEN", TOKEN)]).fine();
    let shown = verb_with(&["status"], &[("EVENKEEL_ADMIN_TOKEN", TOKEN), ("EVENKEEL_ADMIN", &api)]).fine();
    assert!(shown.contains("ready"), "{shown}");
    assert!(!config_text(&proxy).contains(TOKEN), "the configuration shows the token");
    assert!(!proxy.stderr().contains(TOKEN) && !proxy.stdout().contains(TOKEN));
}

#[test]
fn watching_goes_on_until_nobody_looks() {
    let (_origin, proxy, _client, _closed) = busy();
    let mut command = std::process::Command::new(BIN);
    command.args(["status", "targets", "--json", "--watch", "--api", &proxy.admin_addr().to_string()]);
    let watch = evenkeel_testkit::Running::spawn(command).unwrap();
    wait_until("a second page", MOMENT, || watch.stdout().lines().count() >= 2);
    for line in watch.stdout().lines().take(2) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap().as_array().map(Vec::len), Some(3), "{line}");
    }
    assert!(watch.exited().is_none());
    // It outlives a process that is gone for a while, and says so.
    proxy.signal(evenkeel_testkit::signal::SIGKILL);
    assert!(
        watch.wait_stderr("cannot reach the admin API", Duration::from_secs(10)).is_some(),
        "{}",
        watch.stderr()
    );
    assert!(watch.exited().is_none());
}
