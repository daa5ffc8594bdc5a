//! Changes of targets that are written back to the file: comments stay, and a restart finds the same state.

use std::fs;

use evenkeel_testkit::{Evenkeel, Launch, Origin};
use serde_json::Value;

use crate::support::{BIN, start};
use crate::world::{Kept, config_text, tell};

/// The file as its owner wrote it: every comment and blank line is somebody's.
fn written(a: &Origin, b: &Origin) -> String {
    format!(
        "# The shop. Ask Ada before you touch it.\n\n[workers]\ncount = 1 # one is plenty\n\n\
         [listener.web]  # where clients come in\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n\n\
         # Both run on the old machine.\n[pool.app]\ntargets = [\n  # the first one\n  \"{}\", # keep\n  \
         # the second one\n  {{ address = \"{}\", weight = 3 }}, # heavier\n]\n\n\
         [pool.other]\ntargets = []\n\n[admin]\nbind = \"unix:{{dir}}/admin.sock\" # local only\n# The end.\n",
        a.addr(),
        b.addr()
    )
}

fn file(proxy: &Evenkeel) -> String {
    fs::read_to_string(proxy.config_path()).unwrap()
}

/// What tells the targets of a pool apart.
fn targets(proxy: &Evenkeel, pool: &str) -> Vec<Value> {
    let list = proxy.admin_json(&format!("/api/v1/pools/{pool}/targets"));
    let of = |target: &Value| {
        let [address, weight, priority, limit] =
            ["address", "weight", "priority", "max_connections"].map(|key| target[key].clone());
        Value::from(vec![address, weight, priority, limit])
    };
    list.as_array().unwrap().iter().map(of).collect()
}

/// Starts another process from the file as it is now.
fn restarted(proxy: &Evenkeel) -> Evenkeel {
    let text = file(proxy).replace(&proxy.dir().display().to_string(), "{dir}");
    Launch::new(BIN, &text).start()
}

#[test]
fn saved_changes_keep_every_comment_and_survive_a_restart() {
    let [a, b, c] = ["a", "b", "c"].map(Origin::start);
    let proxy = start(&written(&a, &b));
    let [first, second, third] = [&a, &b, &c].map(|origin| origin.addr().to_string());
    let before = file(&proxy);

    let said =
        tell(&proxy, &["target", "add", "app", &third, "--weight", "5", "--max-connections", "7", "--save"]);
    let said = said.fine();
    assert!(said.starts_with(&format!("added {third} in app, and saved")), "{said}");
    tell(&proxy, &["target", "add", "other", &third, "--save"]).fine();
    tell(&proxy, &["target", "set", "app", &first, "--weight", "2", "--priority", "1", "--save"]).fine();
    tell(&proxy, &["target", "set", "app", &third, "--max-connections", "none", "--save"]).fine();
    tell(&proxy, &["target", "remove", "app", &second, "--save"]).fine();

    let after = file(&proxy);
    for line in before.lines().filter(|line| !line.contains(&first) && !line.contains(&second)) {
        // What stood above the removed target was about it.
        let kept =
            line.contains("second one") || line.contains("targets = []") || after.lines().any(|l| l == line);
        assert!(kept, "{line:?} is lost in\n{after}");
    }
    assert!(after.contains("# keep") && !after.contains(&second), "{after}");
    assert_eq!(targets(&proxy, "app").len(), 2);

    let again = restarted(&proxy);
    assert_eq!(targets(&again, "app"), targets(&proxy, "app"));
    assert_eq!(targets(&again, "other"), targets(&proxy, "other"));
    let without_dir =
        |proxy: &Evenkeel| config_text(proxy).replace(&proxy.dir().display().to_string(), "{dir}");
    assert_eq!(without_dir(&again), without_dir(&proxy));
    // And what was saved is what is in force: reading the file again changes nothing.
    assert_eq!(tell(&proxy, &["reload"]).fine(), "nothing changed\n");
    let served = Kept::connect(again.listener_addr("web")).get("/").unwrap();
    assert_eq!(served.header("x-origin"), Some("c"), "priority 0 comes before priority 1");
}

#[test]
fn what_is_not_saved_lasts_until_the_next_reload() {
    let [a, b, c] = ["a", "b", "c"].map(Origin::start);
    let proxy = start(&written(&a, &b));
    let before = file(&proxy);
    tell(&proxy, &["target", "add", "app", &c.addr().to_string()]).fine();
    assert_eq!((file(&proxy), targets(&proxy, "app").len()), (before, 3));
    let changes = tell(&proxy, &["reload"]).fine();
    assert!(changes.contains(&c.addr().to_string()), "{changes}");
    assert_eq!(targets(&proxy, "app").len(), 2);
}

#[test]
fn a_change_in_an_included_file_is_saved_there() {
    let [a, b] = ["a", "b"].map(Origin::start);
    let proxy = start(&format!(
        "include = \"conf.d/*.toml\"\n[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n\
         [pool.app]\ntargets = [\"{}\"]\n",
        a.addr()
    ));
    let main = file(&proxy);
    let folder = proxy.dir().join("conf.d");
    fs::create_dir(&folder).unwrap();
    let included = folder.join("more.toml");
    fs::write(&included, "# more\n[pool.more]\ntargets = [] # none yet\n").unwrap();
    tell(&proxy, &["reload"]).fine();
    tell(&proxy, &["target", "add", "more", &b.addr().to_string(), "--save"]).fine();
    let text = fs::read_to_string(&included).unwrap();
    assert!(text.starts_with("# more\n") && text.contains("# none yet"), "{text}");
    assert!(text.contains(&b.addr().to_string()), "{text}");
    assert_eq!(file(&proxy), main);
}

#[test]
fn a_change_that_cannot_be_saved_is_live_and_says_so() {
    let [a, b, c] = ["a", "b", "c"].map(Origin::start);
    let proxy = start(&written(&a, &b));
    // The file is broken by somebody in the meantime: it is not ours to overwrite.
    fs::write(proxy.config_path(), "[pool.app\n").unwrap();
    let third = c.addr().to_string();
    let error = tell(&proxy, &["target", "add", "app", &third, "--save"]).refused(1);
    assert!(error.contains("save-failed") && error.contains("live"), "{error}");
    assert_eq!((targets(&proxy, "app").len(), file(&proxy).as_str()), (3, "[pool.app\n"));
    let left: Vec<_> = fs::read_dir(proxy.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("new")), "{left:?}");
}

#[test]
fn a_saved_file_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let [a, b, c] = ["a", "b", "c"].map(Origin::start);
    let proxy = start(&written(&a, &b));
    fs::set_permissions(proxy.config_path(), fs::Permissions::from_mode(0o640)).unwrap();
    tell(&proxy, &["target", "add", "app", &c.addr().to_string(), "--save"]).fine();
    assert_eq!(fs::metadata(proxy.config_path()).unwrap().permissions().mode() & 0o777, 0o640);
}
