//! One name, asked for: the hosts file first, then the name servers.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_config::Resolver as Settings;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, Answer, Family};
use crate::system::{HOSTS_TTL, System};

/// Whom to ask, and how. Built anew when the settings or this machine's files change.
pub(crate) struct Dns {
    resolver: TokioResolver,
    hosts: Arc<Hosts>,
    search: Vec<Name>,
    ndots: usize,
    timeout: Duration,
}

impl Dns {
    /// # Errors
    /// When the library refuses what it was given; with plain name servers it has no reason to.
    pub(crate) fn new(settings: &Settings, system: &System) -> Result<Self, NetError> {
        let mut dns_config = system.resolv.config.clone();
        if !settings.nameservers.is_empty() {
            // Only those, and no search domains: they belong to the machine's own name servers.
            dns_config = ResolverConfig::from_name_servers(settings.nameservers.iter().map(server).collect());
        }
        let (domain, search, servers) = dns_config.into_parts();
        // As glibc has it: the machine's own domain is searched only where no search list is written.
        let search = if search.is_empty() { domain.into_iter().collect() } else { search };
        let mut builder = TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        );
        *builder.options_mut() = options(settings);
        Ok(Self {
            resolver: builder.build()?,
            hosts: Arc::clone(&system.hosts),
            search,
            ndots: system.resolv.ndots,
            timeout: settings.timeout,
        })
    }

    /// Asks for A and AAAA; answers within the timeout, whatever others do.
    pub(crate) async fn ask(&self, host: &str) -> Answer {
        let Ok(mut name) = Name::from_ascii(host) else { return Answer::FAILED };
        name.set_fqdn(true);
        if let Some(answer) = self.ask_hosts(&name) {
            return answer;
        }
        let deadline = Instant::now() + self.timeout;
        let mut last = Answer { v4: Family::Nothing, v6: Family::Nothing };
        for candidate in self.candidates(host, name) {
            let (v4, v6) = tokio::join!(
                self.ask_servers(&candidate, RecordType::A, deadline),
                self.ask_servers(&candidate, RecordType::AAAA, deadline),
            );
            let answer = Answer { v4, v6 };
            // Both families of one name: a host that has A in one domain must not get its AAAA from another.
            if answer.has_found() {
                return answer;
            }
            last = answer;
        }
        last
    }

    /// A name that stands in the hosts file is not asked for elsewhere, in either family.
    fn ask_hosts(&self, name: &Name) -> Option<Answer> {
        let family = |record_type| {
            let query = Query::query(name.clone(), record_type);
            let addresses: Vec<_> = self.hosts.lookup_static_host(&query).map_or_else(Vec::new, |reply| {
                let ips = reply.answers().iter().filter_map(|record| record.data.ip_addr());
                ips.filter(|ip| answer::is_usable(*ip)).collect()
            });
            match addresses.is_empty() {
                true => Family::Nothing,
                false => Family::Found { addresses, ttl: HOSTS_TTL },
            }
        };
        let answer = Answer { v4: family(RecordType::A), v6: family(RecordType::AAAA) };
        answer.has_found().then_some(answer)
    }

    /// The names to ask for, in order (resolv.conf(5), `ndots` and `search`).
    fn candidates(&self, host: &str, name: Name) -> Vec<Name> {
        let is_local = host == "localhost" || host.ends_with(".localhost");
        if self.search.is_empty() || is_local {
            return vec![name];
        }
        let mut relative = name.clone();
        relative.set_fqdn(false);
        let in_domain = |domain: &Name| {
            let mut full = relative.clone().append_domain(domain).ok()?;
            full.set_fqdn(true);
            Some(full)
        };
        let mut names: Vec<Name> = self.search.iter().filter_map(in_domain).collect();
        let has_dots = host.matches('.').count() >= self.ndots;
        names.insert(if has_dots { 0 } else { names.len() }, name);
        names
    }

    async fn ask_servers(&self, name: &Name, record_type: RecordType, deadline: Instant) -> Family {
        match timeout_at(deadline, self.resolver.lookup(name.clone(), record_type)).await {
            Ok(Ok(reply)) => answer::read(&reply, name),
            Ok(Err(error)) if error.is_no_records_found() => Family::Nothing,
            Ok(Err(_)) | Err(_) => Family::Failed,
        }
    }
}

fn server(address: &std::net::SocketAddr) -> NameServerConfig {
    // UDP first, TCP when an answer is truncated.
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn options(settings: &Settings) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    // Two rounds fit into the timeout, so that a dead name server leaves time for the next one.
    options.timeout = settings.timeout / 2;
    options.attempts = 1;
    // TTLs are kept by the roster; a cache in between would only answer late.
    options.cache_size = 0;
    // We look there ourselves, and again when the file changes.
    options.use_hosts_file = ResolveHosts::Never;
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(resolv: &str, nameservers: &[&str], host: &str) -> Vec<String> {
        let file =
            std::env::temp_dir().join(format!("evenkeel-ask-{}-{:p}", std::process::id(), &raw const resolv));
        std::fs::write(&file, resolv).unwrap();
        let mut system = System::of("/nonexistent".into(), file.clone());
        system.refresh(Instant::now());
        std::fs::remove_file(file).unwrap();
        let settings = Settings {
            nameservers: nameservers.iter().map(|text| text.parse().unwrap()).collect(),
            timeout: Duration::from_secs(1),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(1),
            max_addresses: 1,
        };
        let dns = Dns::new(&settings, &system).unwrap();
        let mut name = Name::from_ascii(host).unwrap();
        name.set_fqdn(true);
        dns.candidates(host, name).iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn search_domains_come_first_for_names_with_few_dots() {
        let resolv = "nameserver 192.0.2.1\nsearch a.test b.test\noptions ndots:2\n";
        let of = |host| candidates(resolv, &[], host);
        assert_eq!(of("db"), ["db.a.test.", "db.b.test.", "db."]);
        assert_eq!(of("db.x"), ["db.x.a.test.", "db.x.b.test.", "db.x."]);
        assert_eq!(of("db.x.y"), ["db.x.y.", "db.x.y.a.test.", "db.x.y.b.test."]);
        assert_eq!(of("localhost"), ["localhost."], "a question that never leaves this machine");
        assert_eq!(candidates("nameserver 192.0.2.1\ndomain c.test\n", &[], "db"), ["db.c.test.", "db."]);
    }

    #[tokio::test]
    async fn own_name_servers_know_no_search_domains() {
        let resolv = "nameserver 192.0.2.1\nsearch a.test\n";
        assert_eq!(candidates(resolv, &["192.0.2.2:53"], "db"), ["db."]);
    }
}
