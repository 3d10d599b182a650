//! The simulation finds bugs: each rule is taken out once, and some seed notices; the same seeds find nothing else.

use compute::state::planted::{Rule, without};

use super::broken;
use super::plan::Theme;
use super::run::{Report, Setup};

/// Seeds tried until a bug must have been found.
const SEEDS: u64 = 400;

/// The first seed that finds a bug; `found`: what the oracle says then.
fn finds(bug: &str, theme: Theme, found: &[&str], run: impl Fn(Setup) -> Report) {
    for seed in 0..SEEDS {
        let setup = Setup { theme, ..Setup::of(seed) };
        let wrong = run(setup).wrong;
        if wrong.iter().any(|line| found.iter().any(|word| line.starts_with(word))) {
            println!("{bug}: seed {seed} finds {}", wrong[0]);
            assert_eq!(Setup { store: |store| store, ..setup }.run().wrong, [""; 0], "{bug}: without it");
            return;
        }
    }
    panic!("{bug}: not found by {SEEDS} schedules");
}

fn finds_without(rule: Rule, theme: Theme, found: &[&str]) {
    finds(&format!("{rule:?}"), theme, found, |setup| without(rule, || setup.run()));
}

#[test]
fn an_expire_that_is_fenced_by_the_generation_alone_is_found() {
    finds_without(Rule::ExpireFence, Theme::Comebacks, &["fence", "leases"]);
}

#[test]
fn witnesses_that_do_not_refute_are_found() {
    finds_without(Rule::Refute, Theme::Witnesses, &["leases"]);
}

#[test]
fn a_missing_beacon_barrier_is_found() {
    finds_without(Rule::Barrier, Theme::Witnesses, &["fence", "leases"]);
}

#[test]
fn a_mass_loss_that_is_not_held_back_is_found() {
    finds_without(Rule::Freeze, Theme::MassLoss, &["mass"]);
}

#[test]
fn words_of_a_session_that_has_moved_on_are_found() {
    finds_without(Rule::Epoch, Theme::Moves, &["leases"]);
}

#[test]
fn a_write_whose_base_is_not_checked_is_found() {
    finds_without(Rule::Base, Theme::Moves, &["writes"]);
}

#[test]
fn an_unchecked_landing_epoch_is_found() {
    finds("landing epoch", Theme::Landing, &["landing"], |setup| {
        Setup { store: broken::epoch_unchecked, ..setup }.run()
    });
}

#[test]
fn a_watermark_outside_its_transaction_is_found() {
    let store = broken::watermark_outside;
    finds("watermark", Theme::Landing, &["landing", "agreement"], |setup| Setup { store, ..setup }.run());
}

#[test]
fn a_load_that_is_no_snapshot_is_found() {
    let found = ["agreement", "a can't", "b can't", "c can't", "d can't", "e can't"];
    finds("load", Theme::Landing, &found, |setup| Setup { store: broken::load_torn, ..setup }.run());
}
