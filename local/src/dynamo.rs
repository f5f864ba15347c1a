//! DynamoDB: dynoxide on a port, with the template's table.

use std::path::Path;
use std::time::Duration;

use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::actions::update_time_to_live::{TimeToLiveSpecification, UpdateTimeToLiveRequest};
use dynoxide::{Database, DynoxideError};
use serde_json::{Value, json};

use crate::state::{State, StateError};
use crate::template::Table;

/// How often expired items are deleted. AWS may take days, so nothing may depend on it.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// Why the table can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DynamoError {
    /// The database file can't be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The template's table can't be created.
    #[error("the template's table can't be made: {0}")]
    Table(String),
    /// The existing table was created from another template.
    #[error(
        "the table in the state folder was made from another template: its keys are {found}, and \
         the template's are {wanted}; move the folder away to start afresh"
    )]
    OtherKeys {
        /// The existing table's key schema.
        found: Value,
        /// The template's.
        wanted: Value,
    },
}

/// Opens the database and creates the table if it doesn't exist. SQLite blocks, and so does this.
pub(crate) fn open(state: &State, name: &str, table: &Table) -> Result<Database, DynamoError> {
    let Some(file) = state.file("dynamo.db") else { return in_memory(name, table) };
    let database = Database::new(&file.to_string_lossy());
    let database = database.map_err(|error| unopened(&file, &error))?;
    with_table(database, name, table).map_err(|error| match error {
        DynamoError::Table(problem) if is_full(&problem) => StateError::DiskFull(file).into(),
        error @ (DynamoError::State(_) | DynamoError::Table(_) | DynamoError::OtherKeys { .. }) => {
            error
        }
    })
}

/// Why the file can't be opened.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other error is reported as it is")]
fn unopened(file: &Path, error: &DynoxideError) -> StateError {
    match error {
        DynoxideError::SqliteError(error) => StateError::of_database(file, error),
        DynoxideError::InternalServerError(problem) if is_full(problem) => {
            StateError::DiskFull(file.to_owned())
        }
        // dynoxide takes any file that is no database for an encrypted one.
        DynoxideError::InternalServerError(problem) if problem.contains("not a valid SQLite") => {
            let problem = "the file is not a database".to_owned();
            StateError::Unreadable { file: file.to_owned(), problem }
        }
        other => StateError::Unreadable { file: file.to_owned(), problem: other.to_string() },
    }
}

/// Whether this is SQLite's error for a full disk. dynoxide keeps only the text of most of its
/// errors.
fn is_full(problem: &str) -> bool {
    problem.contains("database or disk is full")
}

/// An in-memory database with this table, served by dynoxide's own server.
pub fn in_memory(name: &str, table: &Table) -> Result<Database, DynamoError> {
    let database = Database::memory().map_err(|error| DynamoError::Table(error.to_string()))?;
    with_table(database, name, table)
}

fn with_table(database: Database, name: &str, table: &Table) -> Result<Database, DynamoError> {
    let failed = |error: DynoxideError| DynamoError::Table(error.to_string());
    let request = DescribeTableRequest { table_name: name.to_owned() };
    if let Ok(described) = database.describe_table(request) {
        let found = json!(described.table.key_schema);
        let wanted = table.definition.get("KeySchema").cloned().unwrap_or_default();
        if found != wanted {
            return Err(DynamoError::OtherKeys { found, wanted });
        }
    } else {
        let mut definition = table.definition.clone();
        definition.insert("TableName".to_owned(), Value::from(name));
        let request: CreateTableRequest = serde_json::from_value(Value::Object(definition))
            .map_err(|error| DynamoError::Table(error.to_string()))?;
        database.create_table(request).map_err(failed)?;
    }
    if let Some(attribute) = &table.ttl_attribute {
        let ttl = TimeToLiveSpecification { attribute_name: attribute.clone(), enabled: true };
        database
            .update_time_to_live(UpdateTimeToLiveRequest {
                table_name: name.to_owned(),
                time_to_live_specification: ttl,
            })
            .map_err(failed)?;
    }
    Ok(database)
}

/// Deletes expired items periodically, forever.
pub(crate) async fn sweep(database: Database) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "expired items were not deleted"),
            Err(error) => tracing::warn!(%error, "expired items were not deleted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn a_database_that_can_t_be_opened_says_why() {
        let sqlite = |code| {
            let error = ffi::Error::new(code);
            DynoxideError::SqliteError(rusqlite::Error::SqliteFailure(error, None))
        };
        let internal = |problem: &str| DynoxideError::InternalServerError(problem.to_owned());
        for (error, expected) in [
            (sqlite(ffi::SQLITE_FULL), "the disk is full: dynamo.db can't be written"),
            (internal("backend: database or disk is full"), "the disk is full: dynamo.db"),
            (
                internal("Database file is encrypted or not a valid SQLite database."),
                "cannot read the state in dynamo.db: the file is not a database;",
            ),
            (internal("backend: locked"), "cannot read the state in dynamo.db: backend: locked;"),
            (sqlite(ffi::SQLITE_IOERR), "cannot read the state in dynamo.db: "),
        ] {
            let said = unopened(Path::new("dynamo.db"), &error).to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
