//! The judge finds what is planted, and nothing else.

use std::time::{Duration, Instant};

use evenkeel_testkit::{
    AnswerStyle, BodyCheck, ClientJournal, Cut, Entry, Fault, Load, LoadPlan, Origin, OriginJournal, Outcome,
    Record, Rules, Verdict, judge, judge_by,
};

fn record(id: &str, method: &'static str, outcome: Outcome) -> Record {
    Record {
        id: id.to_owned(),
        method,
        body_hash: 1,
        at: Instant::now(),
        latency: Duration::from_millis(1),
        connection: 1,
        reused: false,
        outcome,
    }
}

fn executed(id: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        head: None,
        at: Instant::now(),
        connection: 1,
        body_bytes: 0,
        body_hash: 1,
        complete: true,
        answered: Some(200),
        spoilt: false,
    }
}

fn answered(status: u16, origin: Option<&str>, body: BodyCheck) -> Outcome {
    Outcome::Answered { status, origin: origin.map(str::to_owned), body, close_seen: false }
}

fn ok() -> Outcome {
    answered(200, Some("a"), BodyCheck::Right)
}

/// The verdict over one request, next to one that went well.
fn one(healthy_server: bool, method: &'static str, outcome: Outcome, entries: &[Entry]) -> Verdict {
    let records = vec![record("fine", "GET", ok()), record("x", method, outcome)];
    let (a, b) = (OriginJournal::default(), OriginJournal::default());
    a.push(executed("fine"));
    for (n, entry) in entries.iter().enumerate() {
        if n % 2 == 0 { a.push(entry.clone()) } else { b.push(entry.clone()) }
    }
    judge_by(Rules { healthy_server }, &ClientJournal { records }, &[&a, &b])
}

fn faults(verdict: &Verdict) -> Vec<Fault> {
    assert!(verdict.offences.iter().all(|offence| offence.id == "x"));
    verdict.offences.iter().map(|offence| offence.fault).collect()
}

#[test]
fn silence_is_loss_whatever_the_method_and_the_servers() {
    let silent = [
        Outcome::Closed,
        Outcome::Reset,
        Outcome::TimedOut,
        Outcome::Malformed("x".into()),
        answered(500, None, BodyCheck::Right),
        answered(400, None, BodyCheck::Right),
    ];
    for outcome in silent {
        for (method, healthy) in [("GET", true), ("POST", true), ("GET", false), ("POST", false)] {
            let verdict = one(healthy, method, outcome.clone(), &[]);
            assert_eq!((faults(&verdict), verdict.lost), (vec![Fault::Lost], 1), "{method} {outcome:?}");
        }
    }
}

#[test]
fn a_refusal_is_a_report_only_where_trying_elsewhere_was_not_safe_or_possible() {
    for status in [502, 503, 504] {
        let refusal = || answered(status, None, BodyCheck::Right);
        assert_eq!(faults(&one(true, "GET", refusal(), &[])), [Fault::Lost]);
        assert_eq!(faults(&one(true, "PUT", refusal(), &[])), [Fault::Lost]);
        let post = one(true, "POST", refusal(), &[executed("x")]);
        assert_eq!((faults(&post), post.reported_5xx, post.reported_unseen), (vec![], 1, 0));
        assert_eq!(one(true, "POST", refusal(), &[]).reported_unseen, 1);
        assert_eq!(one(false, "GET", refusal(), &[]).reported_5xx, 1);
        let of_origin = one(true, "GET", answered(status, Some("a"), BodyCheck::Right), &[executed("x")]);
        assert_eq!((faults(&of_origin), of_origin.answered_other), (vec![], 1));
    }
}

#[test]
fn double_execution_is_found_if_it_matters() {
    let twice = [executed("x"), executed("x")];
    assert_eq!(faults(&one(true, "POST", ok(), &twice)), [Fault::Duplicated]);
    assert_eq!(faults(&one(true, "PATCH", ok(), &twice)), [Fault::Duplicated]);
    assert_eq!(faults(&one(true, "GET", ok(), &twice)), []);
    let incomplete = Entry { complete: false, answered: None, ..executed("x") };
    assert_eq!(faults(&one(true, "POST", ok(), &[incomplete.clone(), executed("x")])), []);
    let early = Entry { answered: Some(413), ..incomplete };
    assert_eq!(faults(&one(true, "POST", ok(), &[early, executed("x")])), [Fault::Duplicated]);
    let reported = answered(502, None, BodyCheck::Right);
    assert_eq!(faults(&one(true, "POST", reported, &twice)), [Fault::Duplicated]);
}

#[test]
fn wrong_bodies_are_found_in_either_direction() {
    let other = answered(200, Some("a"), BodyCheck::OtherId("y".into()));
    assert_eq!(faults(&one(true, "GET", other, &[executed("x")])), [Fault::Misrouted]);
    let wrong = answered(200, Some("a"), BodyCheck::Wrong("short".into()));
    assert_eq!(faults(&one(true, "GET", wrong, &[executed("x")])), [Fault::WrongBody]);
    let changed = Entry { body_hash: 2, ..executed("x") };
    assert_eq!(faults(&one(true, "POST", ok(), &[changed])), [Fault::WrongBody]);
}

#[test]
fn a_visible_cut_is_excused_only_if_the_origin_made_it() {
    let cut = || Outcome::Truncated { status: Some(200) };
    assert_eq!(faults(&one(true, "GET", cut(), &[executed("x")])), [Fault::Truncated]);
    assert_eq!(faults(&one(true, "GET", cut(), &[])), [Fault::Truncated]);
    let spoilt = Entry { spoilt: true, ..executed("x") };
    let verdict = one(true, "GET", cut(), std::slice::from_ref(&spoilt));
    assert_eq!((faults(&verdict), verdict.cut_by_origin), (vec![], 1));
    assert_eq!(faults(&one(true, "GET", cut(), &[spoilt, executed("x")])), [Fault::Truncated]);
}

#[test]
fn what_never_reached_us_is_counted_apart() {
    let verdict = one(true, "GET", Outcome::ConnectRefused, &[]);
    assert_eq!((faults(&verdict), verdict.refused), (vec![], 1));
    assert_eq!(faults(&one(true, "GET", Outcome::Unprocessed, &[executed("x")])), [Fault::Lost]);
    assert_eq!(one(true, "GET", Outcome::Unprocessed, &[]).unprocessed, 1);
    assert_eq!(one(true, "GET", ok(), &[executed("x"), executed("smuggled")]).strays, 1);
}

#[test]
fn the_line_names_n_and_the_bound_and_the_assertion_fails_with_the_culprits() {
    let line = one(true, "POST", answered(502, None, BodyCheck::Right), &[]).to_string();
    let start =
        "N=2 lost=0 duplicated=0 misrouted=0 truncated=0 wrong_body=0 reported=1 (95 % bound for loss 3/N";
    assert!(line.starts_with(start), "{line}");
    let verdict = one(true, "GET", Outcome::Reset, &[executed("x")]);
    assert!(verdict.to_string().contains("lost=1") && verdict.to_string().contains("50.000 %"));
    let panic = std::panic::catch_unwind(|| verdict.assert_none_lost("F01")).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("Lost x: GET") && text.contains("origin 0 (executed, answered)"), "{text}");
    let nothing = Verdict::default();
    assert!(std::panic::catch_unwind(|| nothing.assert_none_lost("empty")).is_err());
    let refused = one(true, "GET", Outcome::ConnectRefused, &[]);
    refused.assert_none_lost("refused");
    assert!(std::panic::catch_unwind(|| refused.assert_all_answered("refused")).is_err());
}

#[test]
fn faults_of_real_origins_are_judged_as_such() {
    let origin = Origin::start("a");
    let plan = LoadPlan { requests: Some(1), answer_bytes: 500, ..LoadPlan::default() };
    let run = |change: &dyn Fn(&mut evenkeel_testkit::Behaviour)| {
        origin.once(|b| change(b));
        judge(&Load::run(origin.addr(), plan.clone()), &[origin.journal()])
    };
    let cut = Cut { after_bytes: 400, reset: true };
    assert_eq!(run(&|b| b.cut = Some(cut)).cut_by_origin, 1);
    assert_eq!(run(&|b| b.cut = Some(Cut { after_bytes: 0, reset: false })).lost, 1);
    assert_eq!(run(&|b| b.answer = AnswerStyle::PromiseLess(9)).wrong_body, 1);
    let stolen = "HTTP/1.1 200 OK\r\nx-origin: a\r\nx-answer-id: other\r\ncontent-length: 0\r\n\r\n";
    let script = AnswerStyle::Script(stolen.into(), evenkeel_testkit::AfterScript::Keep);
    assert_eq!(run(&|b| b.answer = script.clone()).misrouted, 1);
}

#[test]
fn journals_merge_and_can_be_taken_in_parts() {
    let origin = Origin::start("a");
    let plan = LoadPlan { requests: Some(20), connections: 2, ..LoadPlan::default() };
    let first = Load::run(origin.addr(), plan.clone());
    let second = Load::run(origin.addr(), plan.clone());
    judge(&first.merge(second), &[origin.journal()]).assert_all_answered("both");
    assert_eq!(origin.journal().take().len(), 40);
    let third = Load::run(origin.addr(), plan);
    let verdict = judge(&third, &[origin.journal()]);
    verdict.assert_all_answered("third");
    assert_eq!((verdict.strays, origin.journal().len(), third.answers_of("a")), (0, 60, 20));
}
