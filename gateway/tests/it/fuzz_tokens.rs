//! Token files that nobody would write: each line is in force as it was written, or the file is refused by that line.

use compute::model::Namespace;
use compute::testing::ManualClock;
use gateway::admission::{Admission, Config, Verb};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sha2::{Digest, Sha256};

use crate::fuzz::{hold, runtime, text};

/// A line, and the token that it is about.
fn line() -> impl Strategy<Value = (u8, String)> {
    let digest =
        |token: u8| -> String { Sha256::digest([b't', token]).iter().map(|byte| format!("{byte:02x}")).collect() };
    let namespaces = prop_oneof![4 => select(vec!["*", "default", "default,team-a", "", ",", "a,,b", "a/b"]).prop_map(str::to_owned), 1 => text()];
    let verbs =
        select(vec!["read", "register", "operate", "read,register", "read,read", "read,", "write", "READ", "*"]);
    let rate = select(vec!["", "", "1", "0", "-1", "4294967296", "x", "1 2"]);
    let name = prop_oneof![4 => "[a-z]{1,3}", 1 => text()];
    let good = (b'a'..b'e', name, namespaces, verbs, rate).prop_map(move |(token, name, namespaces, verbs, rate)| {
        (token, format!("{name} {} {namespaces} {verbs} {rate}", digest(token)))
    });
    let plain = (b'a'..b'k', "[a-z]{1,6}", select(vec!["read", "register,read", "operate"]))
        .prop_map(move |(token, name, verbs)| (token, format!("{name} {} default,team-a {verbs}", digest(token))));
    let other =
        prop_oneof![Just(String::new()), Just("# x".to_owned()), "\\PC{0,12}", Just("ci abc * read".to_owned())];
    prop_oneof![6 => plain, 2 => good, 1 => other.prop_map(|line| (0, line))]
}

#[test]
fn no_token_file_is_too_strange() {
    let runtime = runtime();
    let file = tempfile::NamedTempFile::new().unwrap();
    hold(200, vec(line(), 0..5), |lines| {
        let content: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        std::fs::write(file.path(), content.join("\n")).unwrap();
        let config = Config { tokens: Some(file.path().to_owned()), ..Config::default() };
        let admission = match runtime.block_on(Admission::open(config, ManualClock::new())) {
            Ok(admission) => admission,
            Err(error) => {
                let said = error.to_string();
                let place = format!("token file {}, line ", file.path().display());
                let number = said.strip_prefix(&place).and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
                let count = content.join("\n").lines().count();
                prop_assert!(number.is_some_and(|number| (1..=count).contains(&number)), "{}", said);
                prop_assert!(said.len() < 8_192, "{}", said);
                return Ok(());
            }
        };
        for (token, line) in lines.iter().filter(|(token, line)| *token != 0 && !line.starts_with('#')) {
            let shown = [b"Bearer t", &[*token][..]].concat();
            let identity = admission
                .identify(Some(&shown))
                .map_err(|problem| TestCaseError::fail(format!("{line}: {problem}")))?;
            let words: Vec<&str> = line.split_whitespace().collect();
            prop_assert_eq!(identity.name(), words[0]);
            for verb in Verb::ALL {
                let is_granted = words[3].split(',').any(|word| word == verb.as_str());
                let is_there = words[2] == "*" || words[2].split(',').any(|name| name == "default");
                let may = identity.may(verb, &Namespace::new("default").unwrap()).is_ok();
                prop_assert_eq!(may, is_granted && is_there, "{} of {}", verb.as_str(), line);
            }
        }
        prop_assert!(admission.identify(Some(b"Bearer none")).is_err());
        Ok(())
    });
}
