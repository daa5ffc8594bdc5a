//! `evenkeel demo`: a balancer and three small origins in one process, on loopback, so that there is something to
//! try a minute after the clone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::exit::Exit;
use crate::serve;

/// Names of the three origins.
const ORIGINS: [&str; 3] = ["red", "green", "blue"];

/// Runs the demo until it is stopped.
pub(crate) fn run() -> Exit {
    let mut targets = Vec::new();
    for name in ORIGINS {
        match start_origin(name) {
            Ok(address) => targets.push(address),
            Err(error) => {
                eprintln!("error: the demo cannot start its origin {name}: {error}");
                return Exit::Failed;
            }
        }
    }
    let (web, admin) = (free_or_any(8080), free_or_any(9900));
    let text = config(web, admin, &targets);
    match evenkeel_config::load(&text, "demo", &evenkeel_config::NoSource) {
        Ok(config) => {
            println_hints(web, admin, &targets);
            serve::run_config(config)
        }
        Err(problems) => {
            eprint!("{}", problems.render(false));
            Exit::Failed
        }
    }
}

fn config(web: SocketAddr, admin: SocketAddr, targets: &[SocketAddr]) -> String {
    let targets: Vec<String> = targets.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "grace = \"2s\"\n[admin]\nbind = \"{admin}\"\n[listener.web]\nbind = \"{web}\"\nprotocol = \"http\"\npool = \"colors\"\n\
         [pool.colors]\ntargets = [{}]\n[pool.colors.health]\ncheck = \"http\"\npath = \"/healthz\"\n",
        targets.join(", ")
    )
}

/// The port people expect, unless somebody has it.
fn free_or_any(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from(([127, 0, 0, 1], port));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = TcpListener::bind(wanted).or_else(|_| TcpListener::bind(any));
    bound.and_then(|listener| listener.local_addr()).unwrap_or(wanted)
}

#[allow(clippy::print_stdout)] // what the demo is for
fn println_hints(web: SocketAddr, admin: SocketAddr, targets: &[SocketAddr]) {
    let origins: Vec<String> =
        ORIGINS.iter().zip(targets).map(|(name, address)| format!("{name} {address}")).collect();
    println!("three origins: {}", origins.join(", "));
    println!("try, in another terminal:");
    println!("  curl http://{web}/                 # again and again: the origins take turns");
    let api = if admin.port() == 9900 { String::new() } else { format!(" --api http://{admin}") };
    println!("  evenkeel status targets{api} --watch");
    println!("  evenkeel target drain colors {}{api}", targets[0]);
    println!("  curl http://{admin}/metrics");
    println!("stop with Ctrl-C\n");
}

fn start_origin(name: &'static str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name(format!("origin-{name}")).spawn(move || {
        for client in listener.incoming().flatten() {
            // One thread per connection is plenty for a demo; the balancer keeps few.
            let _ = std::thread::Builder::new().spawn(move || serve_origin(client, name));
        }
    })?;
    Ok(address)
}

fn serve_origin(client: TcpStream, name: &str) -> Option<()> {
    client.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut out = client.try_clone().ok()?;
    let mut reader = BufReader::new(client);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut length = 0usize;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((key, value)) = line.split_once(':')
                && key.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length as u64), &mut std::io::sink()).ok()?;
        let body = format!("hello from {name}\n");
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len());
        out.write_all((head + &body).as_bytes()).ok()?;
    }
}
