use super::*;

/// A word for each other node: `-` has shown nothing; else two places. The first: `m` it has what this node has, `o` it
/// has something else. The second: what it has made anew: `.` not said, `r` what this one has, `R` that, and it is what it
/// has, `x` something else, `X` that, and it is what it has.
fn seen(words: &str) -> Vec<Option<Seen>> {
    let one = |word: &str| {
        let mut signs = word.chars();
        let has_mine = match signs.next() {
            Some('-') => return None,
            Some(sign) => sign == 'm',
            None => panic!("no word"),
        };
        let rebuilt = match signs.next() {
            Some('.') => None,
            Some(sign) => Some(Rebuilt { is_mine: "rR".contains(sign), is_its_own: "RX".contains(sign) }),
            None => panic!("half a word: {word}"),
        };
        Some(Seen { has_mine, rebuilt })
    };
    words.split_whitespace().map(one).collect()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Wait => "wait",
        Verdict::Whole => "whole",
        Verdict::Swap => "swap",
        Verdict::LandAgain => "land",
        Verdict::LeaveToLander => "leave",
        Verdict::Alarm(_) => "alarm",
    }
}

/// Of a node that is not what it has made anew: what the others have shown, and what it does as a follower, as the one
/// that lands, and when nobody is waited for any more.
const TABLE: &[(&str, [&str; 3], &str)] = &[
    ("", ["alarm", "alarm", "alarm"], "alone, nobody agrees with it"),
    ("-", ["wait", "wait", "alarm"], "the other has shown nothing"),
    ("o.", ["wait", "wait", "alarm"], "it has made nothing anew yet"),
    ("oR", ["swap", "swap", "swap"], "the other has what both have made anew"),
    ("or", ["alarm", "alarm", "alarm"], "both are bent, differently"),
    ("ox", ["alarm", "alarm", "alarm"], "both made something else of store and log"),
    ("oX", ["alarm", "alarm", "alarm"], "it is whole by something else"),
    ("mr", ["leave", "land", "leave"], "both have the same, and the rows are wrong"),
    ("mx", ["alarm", "alarm", "alarm"], "both have the same, and made different things anew"),
    ("oR oR", ["swap", "swap", "swap"], "this one alone is bent"),
    ("oR -", ["wait", "wait", "swap"], "the third is silent"),
    ("oR o.", ["wait", "wait", "swap"], "the third is of an older program"),
    ("o. -", ["wait", "wait", "alarm"], "nobody has made anything anew"),
    ("oR or", ["swap", "swap", "swap"], "two are bent, differently, and one has what all made anew"),
    ("or or", ["alarm", "alarm", "alarm"], "all are bent, or the rows are"),
    ("oR mr", ["alarm", "alarm", "alarm"], "two are alike, and one has what the rows say: maybe it has landed them"),
    ("mr mr", ["leave", "land", "leave"], "all have the same, and the rows are wrong"),
    ("mr m.", ["wait", "wait", "leave"], "the third has made nothing anew"),
    ("mr -", ["wait", "wait", "alarm"], "whether the third has the same is not known"),
    ("mX mr", ["leave", "land", "leave"], "a second one agrees"),
    ("oX oR", ["swap", "swap", "swap"], "a third made something else anew, and a second agrees"),
];

#[test]
fn what_is_done_about_a_difference() {
    for (words, [follower, lander, over], case) in TABLE {
        let others = seen(words);
        assert_eq!(word(decide(false, false, &others, false)), *follower, "{words}: {case}");
        assert_eq!(word(decide(false, true, &others, false)), *lander, "{words}: {case}; it lands");
        assert_eq!(word(decide(false, false, &others, true)), *over, "{words}: {case}; nobody is waited for");
        for (lands, is_over) in [(false, false), (true, false), (false, true)] {
            assert_eq!(decide(true, lands, &others, is_over), Verdict::Whole, "{words}: whoever is whole does nothing");
        }
    }
}
