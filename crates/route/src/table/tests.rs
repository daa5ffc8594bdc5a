use std::net::IpAddr;

use evenkeel_base::SplitMix64;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Asked {
    host: String,
    path: String,
    query: String,
    method: String,
    header: Option<(String, String)>,
    client: Option<IpAddr>,
}

impl Request for Asked {
    fn host(&self) -> &str {
        &self.host
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn query(&self) -> &str {
        &self.query
    }
    fn method(&self) -> &str {
        &self.method
    }
    fn has_header(&self, name: &str, value: &[u8]) -> bool {
        self.header.as_ref().is_some_and(|(n, v)| n == name && v.as_bytes() == value)
    }
    fn client(&self) -> Option<IpAddr> {
        self.client
    }
}

fn ask(host: &str, path: &str) -> Asked {
    Asked {
        host: host.into(),
        path: path.into(),
        query: String::new(),
        method: "GET".into(),
        header: None,
        client: None,
    }
}

fn when(host: &str, path: &str) -> When {
    When {
        host: (!host.is_empty()).then(|| host.parse().unwrap()),
        path: (!path.is_empty()).then(|| path.parse().unwrap()),
        ..When::default()
    }
}

/// The definition: of all that match, the highest rank, and the first of those.
fn spec(routes: &[When], request: &Asked) -> Option<usize> {
    (0..routes.len()).filter(|index| routes[*index].matches(request)).max_by_key(|index| {
        let route = &routes[*index];
        let host = match route.host.as_ref().map(HostPattern::host) {
            None => 0,
            Some(Host::Below(parent)) => parent.len(),
            Some(Host::Exact(_)) => usize::MAX,
        };
        (host, route.path_rank(), route.further_conditions(), Reverse(*index))
    })
}

/// Few words, so that routes and requests meet.
struct Draw(SplitMix64);

impl Draw {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.0.below(of.len() as u64) as usize]
    }

    fn host(&mut self, spread: u64) -> String {
        match self.0.below(4) {
            0 => format!("h{}.example.com", self.0.below(spread)),
            1 => format!("h{}.Example.org", self.0.below(spread)),
            2 => self.one(&["a.b.c", "b.c", "x.a.b.c", "c", "example.com", ""]).into(),
            _ => format!("h{}.x.example.com", self.0.below(3)),
        }
    }

    fn path(&mut self, spread: u64, words: &[&str]) -> String {
        let mut path = String::new();
        for _ in 0..self.0.below(5) {
            path.push('/');
            match self.0.below(3) {
                0 => path.push_str(&format!("s{}", self.0.below(spread))),
                _ => path.push_str(self.one(words)),
            }
        }
        path.push_str(self.one(&["", "/", ""]));
        if path.is_empty() { "/".into() } else { path }
    }

    fn when(&mut self, spread: u64) -> When {
        let host = match self.0.below(4) {
            0 => String::new(),
            1 => self.one(&["*.example.com", "*.x.example.com", "*.c", "*.b.c", "*.EXAMPLE.org"]).into(),
            _ => self.host(spread),
        };
        let mut path = self.path(spread, &["a", "b", "*"]);
        if self.0.below(3) == 0 {
            path = format!("{}/**", path.trim_end_matches('/'));
        }
        let mut route = when(&host, if self.0.below(5) == 0 { "" } else { &path });
        if self.0.below(4) == 0 {
            route.methods.push(self.one(&["GET", "POST"]).into());
        }
        if self.0.below(4) == 0 {
            route.headers.push(("x-a".into(), self.one(&["1", "2"]).into()));
        }
        if self.0.below(6) == 0 {
            route.query.push(("q".into(), self.one(&["1", "2"]).into()));
        }
        if self.0.below(6) == 0 {
            route.from.push(("10.0.0.0".parse().unwrap(), 8));
        }
        route
    }

    fn request(&mut self, spread: u64) -> Asked {
        Asked {
            host: self.host(spread),
            path: self.path(spread, &["a", "b", "c", "", "a"]),
            query: self.one(&["", "q=1", "x=1&q=2"]).into(),
            method: self.one(&["GET", "POST", "PUT"]).into(),
            header: (self.0.below(2) == 0).then(|| ("x-a".into(), self.one(&["1", "2"]).into())),
            client: [None, Some("10.1.1.1".parse().unwrap()), Some("11.1.1.1".parse().unwrap())]
                [self.0.below(3) as usize],
        }
    }
}

fn differ(seed: u64, size: u64, requests: u64) -> u64 {
    let mut draw = Draw(SplitMix64::new(seed));
    let spread = (size / 4).max(2);
    let routes: Vec<When> = (0..size).map(|_| draw.when(spread)).collect();
    let table = RouteTable::build(&routes);
    let mut hits = 0;
    for _ in 0..requests {
        let request = draw.request(spread);
        let found = table.find(&request);
        assert_eq!(found, spec(&routes, &request), "seed {seed}, size {size}, {request:?}");
        hits += u64::from(found.is_some());
    }
    hits
}

#[test]
fn table_and_definition_agree_at_every_size() {
    for (size, seeds, requests) in
        [(1, 200, 20), (99, 20, 100), (100, 20, 100), (101, 20, 100), (10_000, 1, 200)]
    {
        let hits: u64 = (0..seeds).map(|seed| differ(seed, size, requests)).sum();
        assert!(hits > 0, "size {size}: no request met a route, so nothing was compared");
    }
}

proptest! {
    #[test]
    fn table_and_definition_agree(seed: u64, size in 0_u64..40) {
        differ(seed, size, 40);
    }
}

#[test]
fn the_most_specific_route_wins() {
    let routes = [
        when("", ""),
        when("", "/v1/**"),
        when("*.example.com", ""),
        when("*.b.example.com", ""),
        when("api.example.com", ""),
        when("api.example.com", "/v1/**"),
        when("api.example.com", "/v1/x"),
        when("api.example.com", "/v1/x/**"),
        when("api.example.com", "/v1/*"),
        when("api.example.com", "/v1/*/z"),
        When { methods: vec!["POST".into()], ..when("api.example.com", "/v1/x") },
    ];
    let table = RouteTable::build(&routes);
    let find = |host, path| table.find(&ask(host, path));
    assert_eq!(find("other", "/"), Some(0));
    assert_eq!(find("other", "/v1/q"), Some(1));
    assert_eq!(find("a.example.com", "/v1/q"), Some(2), "the host counts before the path");
    assert_eq!(find("a.b.example.com", "/"), Some(3));
    assert_eq!(find("API.example.com.", "/"), Some(4));
    assert_eq!(find("api.example.com", "/v1/q/r"), Some(5));
    assert_eq!(find("api.example.com", "/v1/x"), Some(6));
    assert_eq!(find("api.example.com", "/v1/x/y"), Some(7));
    assert_eq!(find("api.example.com", "/v1/y"), Some(8));
    assert_eq!(find("api.example.com", "/v1/y/z"), Some(9));
    assert_eq!(find("api.example.com", "/v1/x/z"), Some(7), "the literal prefix counts before exactness");
    assert_eq!(table.find(&Asked { method: "POST".into(), ..ask("api.example.com", "/v1/x") }), Some(10));
}

#[test]
fn oversized_hosts_and_odd_paths_fall_through() {
    let table = RouteTable::build(&[when("*.com", ""), when("", "/a"), when("", "/**")]);
    let long = format!("{}com", "a.".repeat(400));
    assert_eq!(table.find(&ask(&long, "/a")), Some(1));
    assert_eq!(table.find(&ask("", "*")), Some(2));
    assert_eq!(table.find(&ask(".com", "/b")), Some(2), "a wildcard needs a label");
    assert!(RouteTable::build(&[]).is_empty());
    assert_eq!(RouteTable::build(&[]).find(&ask("a", "/")), None);
}

#[test]
fn a_hostile_path_does_not_beat_the_matcher() {
    let routes = [when("", "/admin/**")];
    let table = RouteTable::build(&routes);
    for path in ["/x/../admin", "//admin/x", "/%61dmin/", "/./admin", "/x/%2e%2e/admin", "/admin//"] {
        let canonical = crate::canonical_path(path).unwrap();
        assert_eq!(table.find(&ask("h", &canonical)), Some(0), "{path}");
    }
    for path in ["/x/..%2fadmin", "/x/..;/admin", "/..\\admin"] {
        assert!(crate::canonical_path(path).is_err(), "{path}");
    }
}
