//! What stands below the options in `--help`: an example for everything.

use crate::exit;

pub(super) fn top() -> String {
    format!(
        "\
Examples:
  evenkeel demo
  evenkeel http 127.0.0.1:8080 127.0.0.1:8081 127.0.0.1:8082
  evenkeel tcp :3306 db1:3306 db2:3306 --algorithm least-connections
  evenkeel run -c evenkeel.toml
  evenkeel status

{}",
        exit::table()
    )
}

pub(super) fn run() -> String {
    format!(
        "\
Examples:
  evenkeel run
  evenkeel run -c /etc/evenkeel/evenkeel.toml

Signals:
  HUP        read the configuration again; a bad one changes nothing
  TERM, INT  accept nothing new and let connections finish, for as long as `grace`;
             the second one ends at once

{}",
        exit::table()
    )
}

pub(super) const DEMO: &str = "\
Example:
  evenkeel demo";

pub(super) const HTTP: &str = "\
Examples:
  evenkeel http :8080 10.0.0.1:8000 10.0.0.2:8000
  evenkeel http :8080 app1:8000 app2:8000 --health /healthz --sticky
  evenkeel http :8080 app1:8000 app2:8000 --print-config > evenkeel.toml";

pub(super) const TCP: &str = "\
Examples:
  evenkeel tcp :3306 db1:3306 db2:3306 --algorithm least-connections
  evenkeel tcp 127.0.0.1:6379 10.0.0.1:6379 unix:/run/redis.sock --health tcp --admin off";

pub(super) const CHECK: &str = "\
Examples:
  evenkeel check evenkeel.toml
  evenkeel check --schema > evenkeel.schema.json

It ends with 0 when there is no problem, and with 78 when there is one.";

pub(super) const RELOAD: &str = "\
Examples:
  evenkeel reload
  evenkeel reload --api unix:/run/evenkeel.sock

It ends with 78 when the new configuration was refused; the old one then goes on.";

pub(super) const STATUS: &str = "\
Examples:
  evenkeel status
  evenkeel status targets --pool app --status unhealthy
  evenkeel status connections --watch
  evenkeel status targets --json | jq '.[].address'

Words of --status: up, draining, disabled, unresolved, down, ejected; healthy, unhealthy.";

pub(super) const TARGET: &str = "\
Examples:
  evenkeel target add app 10.0.0.7:8080 --weight 3
  evenkeel target drain app 10.0.0.1:8080 --wait";

pub(super) const TARGET_ADD: &str = "\
Examples:
  evenkeel target add app 10.0.0.7:8080
  evenkeel target add app 10.0.0.7:8080 --weight 3 --max-connections 200 --save";

pub(super) const TARGET_REMOVE: &str = "\
Example:
  evenkeel target remove app 10.0.0.7:8080 --save";

pub(super) const TARGET_SET: &str = "\
Examples:
  evenkeel target set app 10.0.0.7:8080 --weight 5
  evenkeel target set app 10.0.0.7:8080 --max-connections none --save";

pub(super) const TARGET_DRAIN: &str = "\
Examples:
  evenkeel target drain app 10.0.0.7:8080
  evenkeel target drain app 10.0.0.7:8080 --wait --timeout 30s

It lasts until `target enable`, or until the process ends; `target set … --weight 0 --save` drains for good.";

pub(super) const TARGET_ENABLE: &str = "\
Example:
  evenkeel target enable app 10.0.0.7:8080";

pub(super) const TARGET_DISABLE: &str = "\
Example:
  evenkeel target disable app 10.0.0.7:8080

It lasts until `target enable`, or until the process ends.";

pub(super) const CONNECTION: &str = "\
Examples:
  evenkeel status connections
  evenkeel connection close 0-42";

pub(super) const COMPLETIONS: &str = "\
Examples:
  evenkeel completions bash > /etc/bash_completion.d/evenkeel
  evenkeel completions fish > ~/.config/fish/completions/evenkeel.fish";

pub(super) const MAN: &str = "\
Examples:
  evenkeel man | man -l -
  evenkeel man --dir /usr/local/share/man/man1";
