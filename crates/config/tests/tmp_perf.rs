use std::time::Instant;
use evenkeel_config::*;
#[test]
fn perf() {
    let n = limits::MAX_FILE_BYTES;
    let cases: Vec<(&str, String)> = vec![
        ("[", "[".repeat(n)), ("a=[", format!("a={}", "[".repeat(n-2))), ("nul", "\0".repeat(n)), ("quotes", "\"\n".repeat(n/2)), ("dup", "k=1\n".repeat(n/4)),
        ("dots", format!("{}x=1", "a.".repeat(n/2-4))), ("tables", "[a]\n".repeat(n/4)), ("keys", (0..900_000).map(|i| format!("k{i} = 1\n")).collect()),
        ("array", format!("include = [{}]", "1,".repeat(n/2-20))), ("hash", "#".repeat(n)), ("nl", format!("{}a=1", "\n".repeat(n-10))),
        ("aot", "[[a]]\n".repeat(n/6)),("inline", format!("a={{{}}}", (0..700_000).map(|i| format!("k{i}=1,")).collect::<String>())),
        ("long string", format!("grace = \"{}\"", "x".repeat(n-20))),
        ("long key", format!("{} = 1", "x".repeat(n-20))),
        ("equals", "=".repeat(n)),
    ];
    for (name, text) in cases {
        let t = Instant::now();
        let r = load(&text, "x", &NoSource).unwrap_err();
        let a = t.elapsed();
        let s = r.render(false);
        let rss = std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmHWM")).unwrap().to_owned();
        println!("{name}: load {a:?} render {:?} {} bytes; {} problems  {rss} {}", t.elapsed()-a, s.len(), r.list.len(), s.lines().next().unwrap().chars().take(80).collect::<String>());
    }
}
