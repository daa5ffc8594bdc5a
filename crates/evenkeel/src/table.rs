//! Tables for people: no lines, numbers to the right, amounts with units.

use comfy_table::{CellAlignment, Table, presets};
use evenkeel_api::{Client, Connection, Listener, Pool, Target};

use crate::screen::harmless;
use crate::units::{age, bytes, count, latency};

/// A heading, and how its column stands.
#[derive(Debug, Clone, Copy)]
enum Column {
    /// To the left.
    Text(&'static str),
    /// To the right.
    Number(&'static str),
}

use Column::{Number, Text};

/// Targets, whatever their pool.
pub(crate) fn targets(targets: &[Target]) -> String {
    let columns = [
        Text("POOL"),
        Text("TARGET"),
        Text("STATE"),
        Text("REASON"),
        Number("WEIGHT"),
        Number("IN-FLIGHT"),
        Number("REQUESTS"),
        Number("5XX"),
        Number("ERRORS"),
        Number("P50"),
        Number("P99"),
        Number("IN"),
        Number("OUT"),
    ];
    let row = |target: &Target| {
        let mark = if target.emergency { " (emergency)" } else { "" };
        [
            target.pool.clone(),
            format!("{}{mark}", target.address),
            target.state.to_string(),
            or_dash(target.reason.as_deref()),
            target.weight.to_string(),
            count(target.in_flight),
            count(target.requests),
            count(target.answers.server_error),
            count(target.failures),
            latency(target.latency.p50_us, target.latency.count),
            latency(target.latency.p99_us, target.latency.count),
            // As its clients see it: in is what goes to the target, out what comes back.
            bytes(target.bytes_to),
            bytes(target.bytes_from),
        ]
    };
    render(columns, targets.iter().map(row))
}

/// Pools.
pub(crate) fn pools(pools: &[Pool]) -> String {
    let columns = [
        Text("POOL"),
        Text("ALGORITHM"),
        Number("UP"),
        Number("TARGETS"),
        Number("IN-FLIGHT"),
        Number("WAITING"),
        Number("CLIENTS"),
        Text("CHECK"),
        Text("EMERGENCY"),
    ];
    let row = |pool: &Pool| {
        [
            pool.name.clone(),
            pool.algorithm.clone(),
            pool.available.to_string(),
            pool.targets.to_string(),
            count(pool.in_flight),
            count(pool.waiting),
            pool.clients.map_or_else(|| "-".to_owned(), |clients| count(clients as u64)),
            or_dash(pool.check.as_deref()),
            or_dash(pool.emergency.as_deref()),
        ]
    };
    render(columns, pools.iter().map(row))
}

/// Listeners.
pub(crate) fn listeners(listeners: &[Listener]) -> String {
    let columns = [
        Text("LISTENER"),
        Text("PROTOCOL"),
        Text("ADDRESS"),
        Text("POOL"),
        Number("ROUTES"),
        Number("OPEN"),
        Number("ACCEPTED"),
        Number("REQUESTS"),
        Number("IN"),
        Number("OUT"),
    ];
    let row = |listener: &Listener| {
        [
            listener.name.clone(),
            listener.protocol.clone(),
            listener.bound.join(" "),
            or_dash(listener.pool.as_deref()),
            listener.routes.to_string(),
            count(listener.open),
            count(listener.accepted),
            count(listener.requests),
            bytes(listener.bytes_in),
            bytes(listener.bytes_out),
        ]
    };
    render(columns, listeners.iter().map(row))
}

/// Remembered clients.
pub(crate) fn clients(clients: &[Client]) -> String {
    let columns = [Text("CLIENT"), Text("POOL"), Text("TARGET"), Number("USES"), Number("LAST-SEEN")];
    let row = |client: &Client| {
        [
            client.address.clone(),
            client.pool.clone(),
            client.target.clone(),
            count(client.uses.into()),
            format!("{} ago", age(client.last_seen_s)),
        ]
    };
    render(columns, clients.iter().map(row))
}

/// Open connections.
pub(crate) fn connections(connections: &[Connection]) -> String {
    let columns = [
        Text("ID"),
        Text("CLIENT"),
        Text("LISTENER"),
        Text("TARGET"),
        Number("AGE"),
        Number("REQUESTS"),
        Number("IN"),
        Number("OUT"),
    ];
    let row = |connection: &Connection| {
        [
            connection.id.clone(),
            connection.client.clone(),
            connection.listener.clone(),
            or_dash(connection.target.as_deref()),
            age(connection.age_s),
            count(connection.requests),
            bytes(connection.bytes_in),
            bytes(connection.bytes_out),
        ]
    };
    render(columns, connections.iter().map(row))
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// The lines of a table, headings first, each ended and without spaces at its end.
fn render<const N: usize>(columns: [Column; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.map(|column| match column {
        Text(heading) | Number(heading) => heading,
    }));
    for row in rows {
        table.add_row(row.map(|cell| harmless(&cell)));
    }
    for (column, kind) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if let Number(_) = kind {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use evenkeel_api::{Answers, Latency, TargetState};

    use super::*;

    fn target(address: &str, state: TargetState) -> Target {
        Target {
            pool: "app".into(),
            address: address.into(),
            id: 1,
            state,
            reason: None,
            weight: 1,
            priority: 0,
            max_connections: None,
            emergency: false,
            resolved: vec![address.into()],
            in_flight: 0,
            requests: 0,
            connects: 0,
            connect_errors: 0,
            reused: 0,
            answers: Answers::default(),
            failures: 0,
            retries: 0,
            failures_in_a_row: 0,
            bytes_to: 0,
            bytes_from: 0,
            latency: Latency::default(),
        }
    }

    #[test]
    fn targets_stand_in_columns() {
        let busy = Target {
            weight: 1000,
            in_flight: 37,
            requests: 1_234_567,
            answers: Answers { server_error: 4_200, ..Answers::default() },
            latency: Latency { count: 9, mean_us: 900, p50_us: 850, p99_us: 12_300 },
            bytes_to: 3_565_158,
            bytes_from: 12,
            ..target("10.0.0.1:8080", TargetState::Up)
        };
        let down = Target {
            reason: Some("probe-refused".into()),
            failures: 5,
            emergency: true,
            ..target("unix:/run/b.sock", TargetState::Down)
        };
        let expected = "\
POOL  TARGET                        STATE  REASON         WEIGHT  IN-FLIGHT  REQUESTS    5XX  ERRORS     P50      P99       IN   OUT
app   10.0.0.1:8080                 up     -                1000         37     1.2 M  4.2 k       0  850 µs  12.3 ms  3.4 MiB  12 B
app   unix:/run/b.sock (emergency)  down   probe-refused       1          0         0      0       5       -        -      0 B   0 B
";
        assert_eq!(targets(&[busy, down]), expected);
    }

    #[test]
    fn an_empty_table_is_its_headings() {
        assert_eq!(clients(&[]), "CLIENT  POOL  TARGET  USES  LAST-SEEN\n");
    }

    #[test]
    fn pools_and_listeners_show_what_is_not_there_as_a_dash() {
        let pool = Pool {
            name: "app".into(),
            algorithm: "round-robin".into(),
            targets: 3,
            available: 2,
            emergency: None,
            in_flight: 1_500,
            waiting: 0,
            clients: Some(12_345),
            check: Some("http".into()),
        };
        let expected = "\
POOL  ALGORITHM    UP  TARGETS  IN-FLIGHT  WAITING  CLIENTS  CHECK  EMERGENCY
app   round-robin   2        3      1.5 k        0   12.3 k  http   -
";
        assert_eq!(pools(&[pool]), expected);
        let listener = Listener {
            name: "web".into(),
            protocol: "http".into(),
            bound: vec!["0.0.0.0:80".into(), "[::]:80".into()],
            pool: None,
            routes: 2,
            open: 1,
            max_connections: 10,
            accepted: 5,
            requests: 7,
            bytes_in: 100,
            bytes_out: 2048,
            reasons: std::collections::BTreeMap::new(),
        };
        let expected = "\
LISTENER  PROTOCOL  ADDRESS             POOL  ROUTES  OPEN  ACCEPTED  REQUESTS     IN      OUT
web       http      0.0.0.0:80 [::]:80  -          2     1         5         7  100 B  2.0 KiB
";
        assert_eq!(listeners(&[listener]), expected);
    }

    #[test]
    fn connections_and_clients_have_ages_and_no_escapes() {
        let connection = Connection {
            id: "0-42".into(),
            client: "10.1.2.3:5\x1b[2J".into(),
            listener: "web".into(),
            target: None,
            age_s: 200,
            requests: 3,
            bytes_in: 1,
            bytes_out: 2,
        };
        let expected = "\
ID    CLIENT          LISTENER  TARGET     AGE  REQUESTS   IN  OUT
0-42  10.1.2.3:5 [2J  web       -       3m 20s         3  1 B  2 B
";
        assert_eq!(connections(&[connection]), expected);
        let client = Client {
            address: "10.1.2.3".into(),
            target: "a:1".into(),
            pool: "app".into(),
            last_seen_s: 5,
            uses: 9,
        };
        let expected = "CLIENT    POOL  TARGET  USES  LAST-SEEN\n10.1.2.3  app   a:1        9     5s ago\n";
        assert_eq!(clients(&[client]), expected);
    }
}
