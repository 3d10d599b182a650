use schemas::migration::sqlite::PRESENCE;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};

use super::{Sql, Statements};
use crate::batch::SIZES;
use crate::row::{MARK, tables};

async fn migrated() -> SqliteConnection {
    let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    for migration in PRESENCE {
        connection.execute(sqlx::raw_sql(migration.sql)).await.unwrap();
    }
    connection
}

async fn plan(connection: &mut SqliteConnection, Sql { 0: text }: &Sql) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {text}");
    let steps = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(explain))).await.unwrap();
    steps.iter().map(|step| step.get("detail")).collect()
}

/// Whatever a statement touches it finds by key: one that scanned a table would be right, and never end.
#[tokio::test]
async fn no_statement_of_a_landing_scans_a_table() {
    let mut connection = migrated().await;
    let statements = Statements::new();
    for table in tables().iter().chain([&MARK]) {
        for place in 0..SIZES.len() {
            let texts = statements.texts(table);
            for text in [&texts.delete[place], &texts.upsert[place]] {
                let plan = plan(&mut connection, &super::sql(text)).await;
                assert!(!plan.iter().any(|step| step.starts_with("SCAN presence")), "{text}: {plan:?}");
            }
            let plan = plan(&mut connection, &super::sql(&texts.delete[place])).await;
            assert!(plan.iter().any(|step| step.starts_with("SEARCH")), "{plan:?}");
        }
    }
}

#[tokio::test]
async fn a_page_is_found_by_rowid_and_needs_no_sorting() {
    let mut connection = migrated().await;
    let statements = Statements::new();
    for table in tables().iter().chain([&MARK]) {
        let plan = plan(&mut connection, &super::sql(&statements.texts(table).page)).await;
        assert!(plan.iter().any(|step| step.contains("USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)")), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
    }
}
