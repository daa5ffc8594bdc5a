use evenkeel_base::SplitMix64;

use super::*;
use crate::{Config, NoSource, load};

/// A whole file around a pool, so that every result is loaded again.
fn file(pool: &str) -> String {
    format!(
        "# the web\n[listener.web]\nbind = \":80\" # public\nprotocol = \"tcp\"\npool = \"app\"\n\n{pool}\n\
         # at the end\n[pool.other]\ntargets = []\n"
    )
}

fn checked(text: &str) -> Config {
    load(text, "edited.toml", &NoSource).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn addresses(text: &str) -> Vec<String> {
    checked(text).pool("app").unwrap().targets.iter().map(|target| target.address.to_string()).collect()
}

fn addr(text: &str) -> TargetAddr {
    text.parse().unwrap()
}

fn target(text: &str) -> Target {
    Target { address: addr(text), weight: Weight::ONE, priority: 0, max_connections: None }
}

fn heavy() -> TargetEdit {
    TargetEdit { weight: Weight::new(3), ..TargetEdit::default() }
}

/// Only the pool's part may differ.
#[track_caller]
fn same(result: Result<String, EditError>, pool: &str) {
    let text = result.unwrap();
    checked(&text);
    assert_eq!(text, file(pool));
}

#[test]
fn a_list_on_one_line_stays_on_one_line() {
    let one = file("[pool.app]\ntargets = [\"a:1\", \"b:2\"] # two\n");
    same(
        add_target(&one, "app", &target("c:3")),
        "[pool.app]\ntargets = [\"a:1\", \"b:2\", \"c:3\"] # two\n",
    );
    same(remove_target(&one, "app", &addr("b:2")), "[pool.app]\ntargets = [\"a:1\"] # two\n");
    same(remove_target(&one, "app", &addr("a:1")), "[pool.app]\ntargets = [\"b:2\"] # two\n");
    same(
        set_target(&one, "app", &addr("a:1"), heavy()),
        "[pool.app]\ntargets = [{ address = \"a:1\", weight = 3 }, \"b:2\"] # two\n",
    );
    let none = file("[pool.app]\ntargets = []\n");
    same(add_target(&none, "app", &target("c:3")), "[pool.app]\ntargets = [\"c:3\"]\n");
    let single = file("[pool.app]\ntargets = [\"a:1\"]\n");
    same(remove_target(&single, "app", &addr("a:1")), "[pool.app]\ntargets = []\n");
}

#[test]
fn comments_stay_with_their_targets() {
    let tall =
        file("[pool.app]\ntargets = [\n  # old\n  \"a:1\", # first\n  # new\n  \"b:2\", # second\n]\n");
    same(
        add_target(&tall, "app", &target("c:3")),
        "[pool.app]\ntargets = [\n  # old\n  \"a:1\", # first\n  # new\n  \"b:2\", # second\n  \"c:3\",\n]\n",
    );
    same(
        remove_target(&tall, "app", &addr("a:1")),
        "[pool.app]\ntargets = [\n  # new\n  \"b:2\", # second\n]\n",
    );
    same(
        remove_target(&tall, "app", &addr("b:2")),
        "[pool.app]\ntargets = [\n  # old\n  \"a:1\", # first\n]\n",
    );
    same(
        set_target(&tall, "app", &addr("b:2"), heavy()),
        "[pool.app]\ntargets = [\n  # old\n  \"a:1\", # first\n  # new\n  { address = \"b:2\", weight = 3 }, # second\n]\n",
    );
}

#[test]
fn a_comment_without_a_trailing_comma_stays_too() {
    let tall = file("[pool.app]\ntargets = [\n  \"a:1\", # first\n  \"b:2\" # second\n]\n");
    same(
        add_target(&tall, "app", &target("c:3")),
        "[pool.app]\ntargets = [\n  \"a:1\", # first\n  \"b:2\", # second\n  \"c:3\",\n]\n",
    );
    let text = remove_target(&tall, "app", &addr("b:2")).unwrap();
    assert_eq!(addresses(&text), ["a:1"]);
    assert!(text.contains("# first") && !text.contains("# second"), "{text}");
}

#[test]
fn tables_are_changed_in_place() {
    let tables = file("[pool.app]\ntargets = [{ weight = 2, address = \"A:1\" }, \"b:2\"]\n");
    same(
        set_target(&tables, "app", &addr("a:1"), heavy()),
        "[pool.app]\ntargets = [{ weight = 3, address = \"A:1\" }, \"b:2\"]\n",
    );
    let limited = file("[pool.app]\ntargets = [{ address = \"a:1\", max_connections = 5 }]\n");
    let free = TargetEdit { max_connections: Some(None), ..TargetEdit::default() };
    let text = set_target(&limited, "app", &addr("a:1"), free).unwrap();
    assert_eq!(checked(&text).pool("app").unwrap().targets[0].max_connections, None);
    let fat = Target { weight: Weight::new(5).unwrap(), max_connections: Some(9), ..target("c:3") };
    let text = add_target(&tables, "app", &fat).unwrap();
    assert_eq!(checked(&text).pool("app").unwrap().targets[2], fat);
}

#[test]
fn double_brackets_dotted_keys_and_inline_pools_are_known() {
    let double = "[pool.app]\n\n[[pool.app.targets]]\naddress = \"a:1\"\n\n[[pool.app.targets]]\naddress = \"b:2\" # two\n";
    let double = file(double);
    assert_eq!(addresses(&add_target(&double, "app", &target("c:3")).unwrap()), ["a:1", "b:2", "c:3"]);
    assert_eq!(addresses(&remove_target(&double, "app", &addr("a:1")).unwrap()), ["b:2"]);
    let text = set_target(&double, "app", &addr("b:2"), heavy()).unwrap();
    assert_eq!(checked(&text).pool("app").unwrap().targets[1].weight.as_u16(), 3);
    assert!(text.contains("# two"));

    let dotted = "pool.app.targets = [\"a:1\"]\nlistener.web = { bind = \":80\", protocol = \"tcp\", pool = \"app\" }\n";
    assert_eq!(addresses(&add_target(dotted, "app", &target("c:3")).unwrap()), ["a:1", "c:3"]);
    let inline = "pool = { app = { targets = [\"a:1\"] } }\n[listener.web]\nbind = \":80\"\nprotocol = \"tcp\"\npool = \"app\"\n";
    assert_eq!(addresses(&add_target(inline, "app", &target("c:3")).unwrap()), ["a:1", "c:3"]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let text = file("[pool.app]\ntargets = [\"a:1\"]\n");
    assert_eq!(add_target(&text, "app", &target("a:1")), Err(EditError::AlreadyThere(addr("a:1"))));
    assert_eq!(remove_target(&text, "app", &addr("b:1")), Err(EditError::NoTarget(addr("b:1"))));
    assert_eq!(set_target(&text, "app", &addr("b:1"), heavy()), Err(EditError::NoTarget(addr("b:1"))));
    assert_eq!(add_target(&text, "ap", &target("a:1")), Err(EditError::NoPool("ap".into())));
    assert!(matches!(add_target("x = [", "app", &target("a:1")), Err(EditError::Syntax(_))));
    assert_eq!(
        add_target("[pool.app]\ntargets = 1", "app", &target("a:1")),
        Err(EditError::NoTargets("app".into()))
    );
}

/// Any sequence of edits leaves a file that loads, with just the targets that were asked for, and every other comment.
#[test]
fn any_sequence_of_edits_loads_again() {
    let starts = [
        "[pool.app]\ntargets = []\n",
        "[pool.app]\ntargets = [\"h0:1\", \"h1:1\"]\n",
        "[pool.app]\ntargets = [\n]\n",
        "[pool.app]\ntargets = [\n    # keep\n    \"h0:1\", # zero\n\n    { address = \"h1:1\", weight = 2 }, # one\n    \"h2:1\" # two\n]\n",
        "[pool.app]\ntargets = [ \"h0:1\",\n  \"h1:1\",\n  # closing\n  ]\n",
        "[pool.app]\n[[pool.app.targets]]\naddress = \"h0:1\"\n",
        "[[pool.app.targets]]\naddress = \"h0:1\"\n",
    ];
    for seed in 0..200 {
        let mut random = SplitMix64::new(seed);
        let mut text = file(starts[random.below(starts.len() as u64) as usize]);
        let mut expected = addresses(&text);
        for _ in 0..12 {
            let host = format!("h{}:1", random.below(5));
            let known = expected.iter().position(|name| *name == host);
            let result = match (random.below(3), known) {
                (0, Some(index)) => {
                    expected.remove(index);
                    remove_target(&text, "app", &addr(&host))
                }
                (1, Some(_)) => set_target(&text, "app", &addr(&host), heavy()),
                (_, Some(_)) => continue,
                (_, None) => {
                    expected.push(host.clone());
                    add_target(&text, "app", &target(&host))
                }
            };
            text = result.unwrap();
            assert_eq!(addresses(&text), expected, "seed {seed}\n{text}");
            assert!(text.contains("# public") && text.contains("# at the end"), "seed {seed}\n{text}");
        }
    }
}
