//! One way to run a statement on either database.

use super::{Changes, StoreError};
use postern_api::event::Subject;
use postern_types::time::Micros;
use sqlx::{
    Postgres, Row as _, Sqlite, Transaction,
    postgres::{PgArguments, PgRow},
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text or NULL.
    Text(Option<String>),
    /// A 64-bit integer or NULL.
    Int(Option<i64>),
    /// A truth value.
    Bool(bool),
    /// Bytes or NULL.
    Blob(Option<Vec<u8>>),
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $into:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $into
            }
        }
    )*};
}

value_from! {
    &str => |value| Self::Text(Some(value.to_owned()));
    &String => |value| Self::Text(Some(value.clone()));
    String => |value| Self::Text(Some(value));
    Option<String> => |value| Self::Text(value);
    Option<&str> => |value| Self::Text(value.map(str::to_owned));
    i64 => |value| Self::Int(Some(value));
    Option<i64> => |value| Self::Int(value);
    u32 => |value| Self::Int(Some(i64::from(value)));
    i32 => |value| Self::Int(Some(i64::from(value)));
    Option<i32> => |value| Self::Int(value.map(i64::from));
    bool => |value| Self::Bool(value);
    Micros => |value| Self::Int(Some(value.0));
    Option<Micros> => |value| Self::Int(value.map(|at| at.0));
    Vec<u8> => |value| Self::Blob(Some(value));
    &[u8] => |value| Self::Blob(Some(value.to_vec()));
    Option<Vec<u8>> => |value| Self::Blob(value);
}

macro_rules! value_from_id {
    ($($id:ident)*) => {$(
        impl From<&postern_types::id::$id> for Value {
            fn from(id: &postern_types::id::$id) -> Self {
                Self::Text(Some(id.as_str().to_owned()))
            }
        }

        impl From<Option<&postern_types::id::$id>> for Value {
            fn from(id: Option<&postern_types::id::$id>) -> Self {
                Self::Text(id.map(|id| id.as_str().to_owned()))
            }
        }
    )*};
}

value_from_id! {
    PrincipalId RequestId ReviewId GrantId CredentialId SessionId TokenId ConnectorId GatewayId JoinTokenId SegmentId DeliveryId SignInId WebSessionId
}

/// A row of a result.
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

/// What a column can be read as, on both databases.
pub trait Column:
    for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite> + for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>
{
}

impl<T> Column for T where
    T: for<'r> sqlx::Decode<'r, Sqlite>
        + sqlx::Type<Sqlite>
        + for<'r> sqlx::Decode<'r, Postgres>
        + sqlx::Type<Postgres>
{
}

impl Row {
    /// The value of a column: `String`, `i64`, `bool`, `Vec<u8>`, or an `Option` of these.
    ///
    /// # Errors
    /// When there is no such column or it has another type.
    pub fn get<T: Column>(&self, column: &'static str) -> Result<T, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(StoreError::Database)
    }

    /// A column of text that is written in a form of its own, such as an id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.get::<String>(column)?.parse().map_err(|error| StoreError::corrupt(column, error))
    }

    /// The same, where the column may be NULL.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn parse_opt<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text = self.get::<Option<String>>(column)?;
        text.map(|text| text.parse().map_err(|error| StoreError::corrupt(column, error))).transpose()
    }

    /// A point in time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn time(&self, column: &'static str) -> Result<Micros, StoreError> {
        Ok(Micros(self.get(column)?))
    }

    /// A point in time, where the column may be NULL.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn time_opt(&self, column: &'static str) -> Result<Option<Micros>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Micros))
    }
}

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
pub struct Tx {
    inner: Inner,
    changed: Vec<(Subject, String)>,
    changes: Arc<Changes>,
    // Held until the transaction is over; declared after it, so that it is dropped after it.
    _writer: Option<OwnedMutexGuard<()>>,
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(super) fn sqlite(
        tx: Transaction<'static, Sqlite>,
        writer: Option<OwnedMutexGuard<()>>,
        changes: Arc<Changes>,
    ) -> Self {
        Self { inner: Inner::Sqlite(tx), changed: Vec::new(), changes, _writer: writer }
    }

    pub(super) fn postgres(tx: Transaction<'static, Postgres>, changes: Arc<Changes>) -> Self {
        Self { inner: Inner::Postgres(tx), changed: Vec::new(), changes, _writer: None }
    }

    /// Notes that something changes, for those who wait for it: they hear of it once it is committed.
    pub fn note(&mut self, subject: Subject, id: &str) {
        self.changed.push((subject, id.to_owned()));
    }

    /// Whether this is PostgreSQL: for the few statements that differ.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// Runs a statement; gives the number of rows that it changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn execute(
        &mut self,
        sql: &'static str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => bind_sqlite(sql, values).execute(&mut **tx).await?.rows_affected(),
            Inner::Postgres(tx) => bind_postgres(sql, values).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs a statement; gives all rows of its result.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rows(
        &mut self,
        sql: &'static str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => {
                let rows = bind_sqlite(sql, values).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Inner::Postgres(tx) => {
                let rows = bind_postgres(sql, values).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Runs a statement; gives the first row of its result, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn row(
        &mut self,
        sql: &'static str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(match &mut self.inner {
            Inner::Sqlite(tx) => bind_sqlite(sql, values).fetch_optional(&mut **tx).await?.map(Row::Sqlite),
            Inner::Postgres(tx) => bind_postgres(sql, values).fetch_optional(&mut **tx).await?.map(Row::Postgres),
        })
    }

    /// Makes everything of this transaction last.
    ///
    /// # Errors
    /// When the database fails; then none of it lasts, or that is not known.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        self.changes.add(self.changed);
        Ok(())
    }
}

fn bind_sqlite(sql: &'static str, values: impl IntoIterator<Item = Value>) -> Query<'static, Sqlite, SqliteArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Int(number) => query.bind(number),
        Value::Bool(truth) => query.bind(truth),
        Value::Blob(bytes) => query.bind(bytes),
    })
}

fn bind_postgres(sql: &'static str, values: impl IntoIterator<Item = Value>) -> Query<'static, Postgres, PgArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Int(number) => query.bind(number),
        Value::Bool(truth) => query.bind(truth),
        Value::Blob(bytes) => query.bind(bytes),
    })
}

/// The parameters of a statement, each made a [`Value`].
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::store::Value::from($value)),*] };
}
