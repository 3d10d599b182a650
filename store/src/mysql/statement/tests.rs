use schemas::migration::mysql::PRESENCE;

use super::{Statements, arguments, bytes, tables};
use crate::batch::SIZES;
use crate::mysql::connections;
use crate::mysql::opening;
use crate::row::{Cell, MARK};

/// The binds of one statement, and the bytes of a key, that both servers take.
const BINDS_MAX: usize = 65_535;

/// What MySQL 8 does not know, and what MariaDB does not.
const FOREIGN: [&str; 24] = [
    "RETURNING",
    "VALUE(",
    "SEQUENCE",
    "NEXTVAL",
    "NEXT VALUE",
    "SYSTEM_TIME",
    "SYSTEM VERSIONING",
    "OR REPLACE",
    "SET STATEMENT",
    "MAX_STATEMENT_TIME",
    "IDLE_TRANSACTION_TIMEOUT",
    "TX_ISOLATION",
    "PAGE_CHECKSUM",
    "ENGINE = ARIA",
    "INET4",
    "INET6",
    " UUID",
    "ADD COLUMN IF",
    "ADD INDEX IF",
    "CREATE INDEX IF",
    "FOR SHARE",
    "AS NEW",
    "MAX_EXECUTION_TIME",
    "LATERAL",
];

/// Words that are no names of MySQL 8 and stand outside of backticks.
fn foreign(text: &str) -> Option<String> {
    let unquoted: String = text.split('`').step_by(2).collect::<Vec<_>>().join("``");
    let code: Vec<&str> = unquoted.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let code = code.join(" ").to_uppercase();
    FOREIGN.into_iter().find(|word| code.contains(word)).map(str::to_owned).or_else(|| bare_name(&code))
}

/// A name of a table or a column that would be a keyword on the one or the other some day.
fn bare_name(code: &str) -> Option<String> {
    let names: Vec<String> = tables()
        .iter()
        .chain([&MARK])
        .flat_map(|table| table.columns().map(|column| column.name).chain([table.name]).collect::<Vec<_>>())
        .map(str::to_uppercase)
        .collect();
    let mut words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '@');
    words.find(|word| names.iter().any(|name| name == word)).map(str::to_owned)
}

#[test]
fn what_one_of_the_servers_does_not_know_is_found() {
    for text in [
        "DELETE FROM `t` WHERE `a` = ? RETURNING `a`",
        "INSERT INTO `t` (`a`) VALUES (?) AS new ON DUPLICATE KEY UPDATE `a` = new.`a`",
        "INSERT INTO `t` (`a`) VALUES (?) ON DUPLICATE KEY UPDATE `a` = VALUE(`a`)",
        "SELECT `a` FROM `t` FOR SHARE",
        "CREATE OR REPLACE TABLE `t` (`a` BIGINT)",
        "ALTER TABLE `t` ADD COLUMN IF NOT EXISTS `b` BIGINT",
        "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
        "SELECT of FROM `presence_freeze`",
        "SELECT `of` FROM presence_freeze",
    ] {
        assert!(foreign(text).is_some(), "{text}");
    }
    assert_eq!(foreign("SELECT `of`, `returning` -- returning\nFROM `presence_freeze`"), None);
}

#[test]
fn both_servers_know_every_statement() {
    let texts = Statements::new().every_text();
    assert!(texts.len() > 100, "{}", texts.len());
    let fixed = opening::TEXTS.iter().map(|text| (*text).to_owned());
    let session = connections::session_text(10, 5);
    let migrations = PRESENCE.iter().map(|migration| migration.sql.to_owned());
    for text in texts.into_iter().chain(fixed).chain([session]).chain(migrations) {
        assert_eq!(foreign(&text), None, "{}", text.chars().take(2_000).collect::<String>());
    }
    // A word of it is a column's, too, and can't be quoted there.
    assert_eq!(FOREIGN.into_iter().find(|word| connections::ISOLATION.contains(word)), None);
}

/// A node that died in the middle of one leaves half of it behind.
#[test]
fn every_migration_can_be_run_again() {
    for migration in PRESENCE {
        let code: Vec<&str> = migration.sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        for statement in code.join(" ").split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            let again =
                statement.starts_with("CREATE TABLE IF NOT EXISTS") || statement.starts_with("DROP TABLE IF EXISTS");
            assert!(again, "{}: {statement}", migration.name);
        }
    }
}

#[test]
fn every_table_has_its_migration_and_its_binds_fit() {
    for table in tables().iter().chain([&MARK]) {
        let made = format!("CREATE TABLE IF NOT EXISTS `{}`", table.name);
        assert!(PRESENCE.iter().any(|migration| migration.sql.contains(&made)), "{made}");
        assert!(table.width() * SIZES[0] <= BINDS_MAX, "{}", table.name);
    }
}

/// What is assigned behind the guard would be compared with the new row.
#[test]
fn the_guard_is_assigned_last() {
    let statements = Statements::new();
    for table in tables() {
        for size in SIZES {
            let text = statements.texts(&table).upsert[super::place(size)].to_string();
            assert_eq!(text.matches("= IF(").count(), table.written().count(), "{text}");
            assert_eq!(guard_before(&text), Some(table.guard));
        }
    }
}

/// The column of the last assignment.
fn guard_before(text: &str) -> Option<&str> {
    let (before, _) = text.rsplit_once(" = IF(")?;
    before.strip_suffix('`')?.rsplit('`').next()
}

#[test]
fn a_statement_is_about_as_large_as_it_was_reckoned() {
    let cells =
        [Cell::Int(7), Cell::Text("some text".into()), Cell::Blob(vec![1; 70_000]), Cell::Null, Cell::Blob(vec![])];
    arguments(&cells).unwrap();
    let reckoned = bytes(&cells);
    assert!((70_000 + 17..70_100).contains(&reckoned), "{reckoned}");
}
