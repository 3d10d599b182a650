use std::sync::Arc;

use compute::model::Namespace;
use compute::port::Clock;
use compute::testing::ManualClock;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::rate::Rate;
use super::tokens::Tokens;
use super::{Admission, Config, Lane, Verb};
use crate::error::Code;

fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

async fn with_file(content: &str) -> (Admission, Arc<ManualClock>, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let clock = ManualClock::new();
    let config = Config { tokens: Some(file.path().to_owned()), ..Config::default() };
    (Admission::open(config, clock.clone()).await.unwrap(), clock, file)
}

#[tokio::test]
async fn without_a_file_everybody_may() {
    let admission = Admission::open(Config::default(), ManualClock::new()).await.unwrap();
    for authorization in [None, Some(&b"Bearer x"[..]), Some(b"nonsense")] {
        let identity = admission.identify(authorization).unwrap();
        assert_eq!(identity.name(), "anonymous");
        assert!(Verb::ALL.into_iter().all(|verb| identity.may_everywhere(verb).is_ok()));
        assert!(!identity.speaks_as_operator());
        assert!(admission.is_current(&identity));
    }
}

#[tokio::test]
async fn a_token_says_who_it_is_and_what_it_may() {
    let lines = format!(
        "# who may\n\nci {} default,team-a read,register\nconsole {} * operate\n",
        digest("secret"),
        digest("other").to_uppercase()
    );
    let (admission, _, _file) = with_file(&lines).await;
    let ci = admission.identify(Some(b"bearer secret")).unwrap();
    assert_eq!(ci.name(), "ci");
    ci.may(Verb::Register, &namespace("team-a")).unwrap();
    ci.may_deregister(&namespace("default")).unwrap();
    assert_eq!(ci.may(Verb::Read, &namespace("team-b")).unwrap_err().code(), Code::Forbidden);
    assert_eq!(ci.may(Verb::Operate, &namespace("default")).unwrap_err().code(), Code::Forbidden);
    assert_eq!(ci.may_everywhere(Verb::Read).unwrap_err().code(), Code::Forbidden);
    let console = admission.identify(Some(b"Bearer other")).unwrap();
    console.may_everywhere(Verb::Operate).unwrap();
    console.may_deregister(&namespace("x")).unwrap();
    assert!(console.speaks_as_operator());
    assert_eq!(console.may_any(&[Verb::Read, Verb::Register]).unwrap_err().code(), Code::Forbidden);
    for wrong in
        [None, Some(&b"Bearer nobody"[..]), Some(b"Bearer "), Some(b"Basic secret"), Some(b"secret"), Some(b"")]
    {
        assert_eq!(admission.identify(wrong).unwrap_err().code(), Code::Unauthenticated, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_and_a_broken_one_is_not() {
    let (admission, clock, file) = with_file(&format!("ci {} * read\n", digest("old"))).await;
    let old = admission.identify(Some(b"Bearer old")).unwrap();
    let until = |wanted: &'static [u8], known: bool| {
        let (admission, clock) = (admission.clone(), clock.clone());
        async move {
            let search = async {
                while admission.identify(Some(wanted)).is_ok() != known {
                    clock.advance(1_000);
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(20), search).await.expect("it is reread");
        }
    };
    std::fs::write(file.path(), "nonsense\n").unwrap();
    for _ in 0..20 {
        clock.advance(1_000);
        tokio::task::yield_now().await;
    }
    assert!(admission.is_current(&old), "a broken file changes nothing");
    std::fs::write(file.path(), format!("ci {} * read\n", digest("new"))).unwrap();
    until(b"Bearer new", true).await;
    until(b"Bearer old", false).await;
    assert!(!admission.is_current(&old));
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said() {
    let config = Config { tokens: Some("no/such/file".into()), ..Config::default() };
    let error = Admission::open(config, ManualClock::new()).await.err().expect("no file");
    assert!(error.to_string().contains("no/such/file"), "{error}");
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_number() {
    let good = digest("x");
    for line in [
        "ci".to_owned(),
        format!("ci {good} *"),
        format!("ci {good} * read 1 2"),
        "ci abc * read".to_owned(),
        format!("ci {} * read", "z".repeat(64)),
        format!("ci {good} a/b! read"),
        format!("ci {good}  , read"),
        format!("ci {good} * write"),
        format!("ci {good} * read,"),
        format!("ci {good} * read 0"),
        format!("ci {good} * read fast"),
        format!("{} {good} * read", "n".repeat(200)),
        format!("ci {good} * read\nci {} * read", digest("y")).replace('\n', "\n#\n"),
        format!("a {good} * read\nb {good} * read"),
    ] {
        let content = format!("# comment\n{line}\n");
        let wrong = Tokens::parse(content.as_bytes()).err().unwrap_or_else(|| panic!("{line}"));
        let said = wrong.in_file(std::path::Path::new("tokens")).to_string();
        assert!(said.starts_with("token file tokens, line "), "{said}");
        assert!(!said.contains("line 1:"), "{said}");
    }
    assert_eq!(Tokens::parse(format!("ci {good} * read 5\n").as_bytes()).ok().map(|tokens| tokens.len()), Some(1));
}

#[tokio::test]
async fn a_lane_that_is_full_sheds_and_leaves_the_others_alone() {
    let config = Config { in_flight_max: 2, writes_max: 1, renewals_max: 1, waiting_max: 1, ..Config::default() };
    let admission = Admission::open(config, ManualClock::new()).await.unwrap();
    let who = admission.nobody();
    let write = admission.enter(&who, Lane::Write).unwrap();
    let full = admission.enter(&who, Lane::Write).unwrap_err();
    assert_eq!(full.code(), Code::Overloaded);
    assert!(full.parts().retry_after.is_some());
    let read = admission.enter(&who, Lane::Read).unwrap();
    assert!(admission.enter(&who, Lane::Read).is_err());
    let renewal = admission.enter(&who, Lane::Renew).unwrap();
    assert!(admission.enter(&who, Lane::Renew).is_err());
    let waiting = admission.wait(read).unwrap();
    let again = admission.enter(&who, Lane::Read).unwrap();
    assert!(admission.wait(again).is_err(), "one may wait");
    drop((write, renewal, waiting));
    let _all = (
        admission.enter(&who, Lane::Write).unwrap(),
        admission.enter(&who, Lane::Read).unwrap(),
        admission.enter(&who, Lane::Renew).unwrap(),
        admission.enter(&who, Lane::Wait).unwrap(),
    );
}

#[tokio::test]
async fn a_rate_holds_back_one_token_and_its_renewals_much_later() {
    let lines = format!("fast {} * read 2\nfree {} * read\n", digest("a"), digest("b"));
    let (admission, clock, _file) = with_file(&lines).await;
    let (fast, free) = (admission.identify(Some(b"Bearer a")).unwrap(), admission.identify(Some(b"Bearer b")).unwrap());
    assert!(admission.enter(&fast, Lane::Read).is_ok());
    assert!(admission.enter(&fast, Lane::Read).is_ok());
    let refused = admission.enter(&fast, Lane::Read).unwrap_err();
    assert_eq!(refused.code(), Code::RateLimited);
    let wait = refused.parts().retry_after.expect("when to come back");
    for _ in 0..20 {
        assert!(admission.enter(&fast, Lane::Renew).is_ok());
    }
    assert_eq!(admission.enter(&fast, Lane::Renew).unwrap_err().code(), Code::RateLimited);
    assert!(admission.enter(&free, Lane::Read).is_ok());
    assert!(admission.enter(&free, Lane::Renew).is_ok());
    clock.advance(wait.as_millis() as u64 + 1);
    assert!(admission.enter(&fast, Lane::Read).is_ok());
    assert!(clock.mono_ms() > 0);
}

#[tokio::test]
async fn one_token_leaves_half_of_the_renewals_to_the_others() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("a {} * register\nb {} * register\n", digest("a"), digest("b"))).unwrap();
    let config = Config { tokens: Some(file.path().to_owned()), renewals_max: 4, ..Config::default() };
    let admission = Admission::open(config, ManualClock::new()).await.unwrap();
    let [a, b] = ["a", "b"].map(|token| admission.identify(Some(format!("Bearer {token}").as_bytes())).unwrap());
    let held: Vec<_> = (0..2).map(|_| admission.enter(&a, Lane::Renew).unwrap()).collect();
    assert_eq!(admission.enter(&a, Lane::Renew).unwrap_err().code(), Code::Overloaded);
    let _others: Vec<_> = (0..2).map(|_| admission.enter(&b, Lane::Renew).unwrap()).collect();
    drop(held);
    assert!(admission.enter(&a, Lane::Renew).is_ok());
}

proptest! {
    /// Over any pattern of arrivals, no second lets through more than twice what was agreed.
    #[test]
    fn a_rate_is_kept(gaps in proptest::collection::vec(0_u64..700_000, 1..200), per_second in 1_u32..50) {
        let rate = Rate::per_second(per_second);
        let mut now = 1;
        let mut let_through = Vec::new();
        for gap in gaps {
            now += gap;
            match rate.spend(now) {
                Ok(()) => let_through.push(now),
                Err(wait) => prop_assert!(!wait.is_zero()),
            }
        }
        for start in &let_through {
            let within = let_through.iter().filter(|at| (*start..*start + 1_000_000).contains(*at)).count();
            prop_assert!(within <= 2 * per_second as usize + 1, "{within} of {per_second}");
        }
    }

    #[test]
    fn no_token_file_does_harm(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Tokens::parse(&content);
    }
}
