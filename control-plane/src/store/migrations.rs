//! The schema's versions, a file for each database and version.

use super::{Store, StoreError};
use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        const SQLITE: &[(i64, &str, &str)] =
            &[$(($version, $name, include_str!(concat!("../../migrations/sqlite/", $name, ".sql")))),*];
        const POSTGRES: &[(i64, &str, &str)] =
            &[$(($version, $name, include_str!(concat!("../../migrations/postgres/", $name, ".sql")))),*];
    };
}

migrations! {
    1 "0001_state",
    2 "0002_fleet",
    3 "0003_credentials",
    4 "0004_policies",
    5 "0005_budgets",
    6 "0006_reviews",
    7 "0007_requests",
    8 "0008_notifications",
    9 "0009_web_sessions",
    10 "0010_issuers",
    11 "0011_people",
    12 "0012_scim",
    13 "0013_door",
    14 "0014_overview",
    15 "0015_jobs",
    16 "0016_certificates",
}

/// Brings the schema up to date. Replicas that start together wait for each other.
pub(super) async fn run(store: &Store) -> Result<(), StoreError> {
    match store {
        Store::Sqlite(sqlite) => migrator(SQLITE).run(&sqlite.pool).await,
        Store::Postgres(shared) => migrator(POSTGRES).run(&shared.pool).await,
    }
    .map_err(StoreError::Migrate)
}

fn migrator(files: &'static [(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = files.iter().map(|&(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}
