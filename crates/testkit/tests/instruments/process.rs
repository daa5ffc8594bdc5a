//! Processes, peers, ports and namespaces leave nothing behind.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Addr, Evenkeel, Launch, Load, LoadPlan, Netns, Nginx, Origin, Peer, Ready, Running, TempDir, have,
    have_namespaces, judge, reserve_port, signal, skip, wait_until,
};

fn shell(script: &str) -> Running {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Running::spawn(command).unwrap()
}

#[test]
fn output_signals_exit_and_figures_are_seen() {
    let script = "trap 'echo got >&2' HUP; trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let running = shell(script);
    assert_eq!(running.wait_stdout("up", Duration::from_secs(5)).as_deref(), Some("up"));
    assert!(running.rss_bytes() > 100_000 && running.threads() == 1 && running.fd_count() >= 3);
    running.signal(signal::SIGHUP);
    assert!(running.wait_stderr("got", Duration::from_secs(5)).is_some());
    assert!(running.exited().is_none());
    running.signal(signal::SIGTERM);
    assert_eq!(running.wait_exit(Duration::from_secs(5)).code(), Some(7));
    assert_eq!(running.rss_bytes(), 0);
    let busy = shell("while :; do :; done");
    wait_until("processor time", Duration::from_secs(10), || busy.cpu_seconds() >= 0.05);
}

#[test]
fn nothing_outlives_the_handle() {
    // One child in the group, and one that left it and whose parent is gone.
    let running = shell("sleep 1000 & setsid sleep 1000 & echo up; wait");
    running.wait_stdout("up", Duration::from_secs(5)).unwrap();
    wait_until("both children", Duration::from_secs(5), || running.family().len() == 3);
    let family = running.family();
    drop(running);
    let alive = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    assert!(!family.iter().any(alive));
    let left = shell("sleep 1000 & exit 0");
    left.wait_exit(Duration::from_secs(5));
    // While a process executes another program it has no environment to be known by.
    wait_until("the orphan", Duration::from_secs(5), || left.family().len() == 1);
    let family = left.family();
    drop(left);
    assert!(!family.iter().any(alive));
}

#[test]
fn a_reserved_port_is_ours_alone_until_somebody_listens() {
    let port = reserve_port();
    assert!(TcpStream::connect(port.addr()).is_err());
    let listener = TcpListener::bind(port.addr()).unwrap();
    assert!(TcpStream::connect(port.addr()).is_ok());
    drop(listener);
    let taken = (0..200).map(|_| reserve_port()).filter(|other| other.addr() == port.addr()).count();
    assert_eq!(taken, 0);
}

#[test]
fn a_directory_lives_as_long_as_its_handle() {
    let dir = TempDir::new();
    let file = dir.write("a.conf", "log {dir}/x");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("log {}/x", dir.path().display()));
    drop(dir);
    assert!(!file.exists());
    assert!(have("sh") && !have("no-such-program"));
}

#[test]
fn a_peer_is_ready_when_started_and_one_that_fails_says_why() {
    let peer = Peer::start("sh", &["-c", "echo here I am; sleep 1000"], &Ready::Says("here".into()));
    assert!(peer.exited().is_none());
    let failing = std::panic::catch_unwind(|| {
        Peer::start("sh", &["-c", "echo no luck >&2; exit 3"], &Ready::Says("never".into()))
    });
    let text = failing.unwrap_err().downcast_ref::<String>().unwrap().clone();
    assert!(text.contains("no luck") && text.contains('3'), "{text}");
}

/// Stands for the binary: a shell script that serves one canned answer per connection through the origin.
fn stand_in(dir: &TempDir, script: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.write("stand-in", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_binary_is_ready_when_its_admin_api_says_so() {
    let dir = TempDir::new();
    let admin = Origin::start("admin");
    admin.set(|b| b.status = 503);
    let config = format!("[admin]\nbind = \"{}\"\n", admin.addr());
    let bin = stand_in(&dir, "echo \"$@\" >&2; cat \"$3\" >&2; exec sleep 1000");
    let journal = admin.journal().clone();
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("the first question", Duration::from_secs(10), || !journal.is_empty());
            admin.set(|b| b.status = 200);
        });
        let evenkeel = Evenkeel::start(&bin, &config);
        assert!(evenkeel.stderr().contains("run -c") && evenkeel.stderr().contains("[admin]"));
        assert_eq!(evenkeel.admin_get("/x").0, 200);
        let body = r#"[{"name":"web","bound":["127.0.0.1:40123"]}]"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        admin.once(|b| {
            b.answer = evenkeel_testkit::AnswerStyle::Script(
                answer.clone().into(),
                evenkeel_testkit::AfterScript::Close,
            );
        });
        assert_eq!(evenkeel.listener_addr("web").port(), 40123);
        assert_eq!(journal.last().unwrap().path, "/api/v1/listeners");
        evenkeel.admin("POST", "/api/v1/reload", "{}");
        assert_eq!(
            (journal.last().unwrap().method.as_str(), journal.last().unwrap().body_bytes),
            ("POST", 2)
        );
        evenkeel.write_config("# new\n");
        assert!(std::fs::read_to_string(evenkeel.config_path()).unwrap().contains("# new"));
    });
}

#[test]
fn a_start_that_fails_tells_how() {
    let dir = TempDir::new();
    let bin = stand_in(&dir, "echo 'line 3: no such key' >&2; exit 78");
    let failed = Launch::new(&bin, "x").try_start().unwrap_err();
    assert_eq!(failed.status.and_then(|status| status.code()), Some(78));
    assert!(failed.to_string().contains("no such key"));
    let started = Instant::now();
    let bin = stand_in(&dir, "echo $FLAVOUR >&2; exec sleep 1000");
    let launch = Launch::new(&bin, "x").wrap(&["env", "FLAVOUR=vanilla"]).timeout(Duration::from_millis(300));
    let late = launch.try_start().unwrap_err();
    assert!(late.status.is_none() && late.stderr.contains("vanilla"), "{late}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn load_through_a_real_balancer_is_judged() {
    if !have("nginx") {
        skip!("no nginx here");
    }
    let (a, mut b) = (Origin::start("a"), Origin::start("b"));
    let port = reserve_port();
    let conf = format!(
        "user root; worker_processes 1; events {{}} http {{ access_log off; client_body_temp_path {{dir}}/c; \
         proxy_temp_path {{dir}}/p; fastcgi_temp_path {{dir}}/f; uwsgi_temp_path {{dir}}/u; \
         scgi_temp_path {{dir}}/s; upstream o {{ server {}; server {}; keepalive 8; }} server {{ listen {}; \
         location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ''; }} }} }}",
        a.addr(),
        b.addr(),
        port.addr()
    );
    let nginx = Nginx::start(&conf, Addr::from(port.addr()));
    let plan = LoadPlan { connections: 4, answer_bytes: 3000, ..LoadPlan::default() };
    let load = Load::start(port.addr(), plan);
    load.wait_answers(300);
    b.kill();
    load.wait_answers(300);
    let journal = load.stop();
    let verdict = judge(&journal, &[a.journal(), b.journal()]);
    println!("nginx, one of two origins killed: {verdict}");
    assert!(journal.answers_of("a") > 0 && journal.answers_of("b") > 0, "{verdict}");
    assert_eq!((verdict.misrouted, verdict.wrong_body, verdict.strays), (0, 0, 0), "{verdict}");
    let family = nginx.family();
    drop(nginx);
    assert!(!family.is_empty() && TcpStream::connect(port.addr()).is_err());
}

#[test]
fn namespaces_are_joined_by_a_cable_and_vanish() {
    if !have_namespaces() {
        skip!("no network namespaces here");
    }
    let (near, far) = (Netns::new().unwrap(), Netns::new().unwrap());
    let (device, _) = near.connect("10.91.0.1/24", &far, "10.91.0.2/24").unwrap();
    let addresses = near.ip(&["-o", "address", "show", "dev", &device]).unwrap();
    assert!(addresses.contains("10.91.0.1/24"), "{addresses}");
    let inside = far.command("ip").args(["route", "get", "10.91.0.1"]).output().unwrap();
    assert!(inside.status.success());
    let name = near.name().to_owned();
    drop(near);
    let left = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&left.stdout).contains(&name));
}
