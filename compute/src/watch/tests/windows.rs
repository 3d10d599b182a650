use crate::watch::window::{Round, Window};

/// Each line: when there is work, what became of the last round, and how long it waits. After that the round is over.
#[track_caller]
fn check(script: &str) {
    let mut window = Window::default();
    for (number, line) in script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [at, woken, waiting, expected] = words[..] else { panic!("{line}") };
        let number_of = |word: &str| word.parse::<u64>().expect("a number");
        let last = Round { woken: number_of(woken), waiting: number_of(waiting) };
        let delay = window.delay(number_of(at), last);
        assert_eq!(delay.to_string(), expected, "line {}: {line}", number + 1);
        window.ended(number_of(at) + delay);
    }
}

#[test]
fn without_load_nothing_waits() {
    check(
        "1000 0    0 0
         1001 10   0 0
         1002 10   9 0
         1003 63  63 0
         1004 9000 0 0
         1005 9000 4500 0",
    );
}

#[test]
fn it_opens_by_steps_while_most_are_late_and_never_beyond_its_maximum() {
    check(
        "1000 0     0    0
         1001 1000  900  4
         1006 1000  900  19
         1026 1000  900  99
         1126 1000  900  99
         1226 1000  1000 99",
    );
}

#[test]
fn the_wait_counts_from_the_last_round() {
    check(
        "1000 0    0   0
         1001 1000 900 4
         1015 1000 900 10
         1040 1000 900 85
         1225 1000 900 0
         1325 1000 900 0",
    );
}

#[test]
fn it_closes_by_steps_when_they_keep_up() {
    check(
        "1000 0    0    0
         1000 1000 1000 5
         1005 1000 1000 20
         1025 1000 10   20
         1045 1000 10   20
         1065 1000 10   20
         1085 1000 10   5
         1090 1000 10   5
         1095 1000 10   5
         1100 1000 10   5
         1105 1000 10   0
         1106 1000 10   0",
    );
}

#[test]
fn after_quiet_the_first_goes_at_once() {
    check(
        "1000 0    0    0
         1000 1000 1000 5
         1005 1000 1000 20
         1025 1000 1000 100
         1325 1000 0    0
         1326 1000 0    0",
    );
}
