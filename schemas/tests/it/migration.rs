use schemas::migration::{Migration, mysql, sqlite};

#[test]
fn numbers_run_from_one_without_a_gap() {
    for set in [sqlite::PRESENCE, sqlite::LOG, mysql::PRESENCE] {
        let numbers: Vec<u32> = set.iter().map(|migration| migration.number).collect();
        let due: Vec<u32> = (1..).take(set.len()).collect();
        assert_eq!(numbers, due);
    }
}

#[test]
fn each_has_a_name_and_says_something() {
    let says_nothing = |migration: &&Migration| migration.name.is_empty() || !migration.sql.contains(';');
    for set in [sqlite::PRESENCE, sqlite::LOG, mysql::PRESENCE] {
        assert_eq!(set.iter().find(says_nothing), None);
    }
}

#[test]
fn each_dialect_has_the_same_steps() {
    let steps = |set: &[Migration]| -> Vec<_> { set.iter().map(|step| (step.number, step.name)).collect() };
    assert_eq!(steps(mysql::PRESENCE), steps(sqlite::PRESENCE));
}
