//! Where the local stack keeps what must survive a restart: a folder, or nothing but memory.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::random;

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In this folder, which is made when it is missing.
    Folder(PathBuf),
    /// In memory; logs go to a temporary folder that is removed at the end.
    Memory,
}

/// The opened state. It holds the folder's lock until it is dropped.
#[derive(Debug)]
pub(crate) struct State {
    keep: Keep,
    logs: PathBuf,
    /// Set when somebody should read the logs after the end.
    logs_stay: bool,
    _lock: Option<File>,
}

/// Why the state can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another stack has it open.
    #[error(
        "another local stack is running on {}: stop it, or choose another folder with --state, \
         or use --ephemeral", .0.display()
    )]
    InUse(PathBuf),
    /// The folder can't be made or written.
    #[error("cannot use the state folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A database in the folder can't be read.
    #[error(
        "cannot read the state in {}: {problem}; to start afresh, move that file away",
        file.display()
    )]
    Unreadable {
        /// The database file.
        file: PathBuf,
        /// What the database says.
        problem: String,
    },
}

impl State {
    pub(crate) fn open(keep: Keep) -> Result<State, StateError> {
        let folder = match &keep {
            Keep::Folder(folder) => folder.clone(),
            Keep::Memory => {
                std::env::temp_dir().join(format!("coursegate-{}", random::token::<8>()))
            }
        };
        let failed = |source| StateError::Folder { folder: folder.clone(), source };
        let logs = folder.join("log");
        std::fs::create_dir_all(&logs).map_err(failed)?;
        let lock = match &keep {
            Keep::Memory => None,
            Keep::Folder(_) => {
                let file = File::create(folder.join("lock")).map_err(failed)?;
                match file.try_lock() {
                    Ok(()) => Some(file),
                    Err(TryLockError::WouldBlock) => return Err(StateError::InUse(folder)),
                    Err(TryLockError::Error(source)) => return Err(failed(source)),
                }
            }
        };
        Ok(State { keep, logs, logs_stay: false, _lock: lock })
    }

    /// A file in the folder; none when everything is in memory.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        match &self.keep {
            Keep::Folder(folder) => Some(folder.join(name)),
            Keep::Memory => None,
        }
    }

    /// The folder of the functions' logs.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Leaves the logs behind even when nothing else is kept.
    pub(crate) fn leave_logs(&mut self) {
        self.logs_stay = true;
    }

    pub(crate) fn entries(&self) -> Result<Entries, StateError> {
        Entries::open(self.file("local.db"))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.keep == Keep::Memory
            && !self.logs_stay
            && let Some(folder) = self.logs.parent()
        {
            // A leftover in the temporary folder harms nobody.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Named JSON values by kind: what sign-in and Secrets Manager remember.
#[derive(Debug, Clone)]
pub(crate) struct Entries {
    connection: Arc<Mutex<Connection>>,
    file: PathBuf,
}

impl Entries {
    pub(crate) fn open(file: Option<PathBuf>) -> Result<Entries, StateError> {
        let (connection, file) = match file {
            Some(file) => (Connection::open(&file), file),
            None => (Connection::open_in_memory(), PathBuf::from("memory")),
        };
        let unreadable = |error: rusqlite::Error| StateError::Unreadable {
            file: file.clone(),
            problem: error.to_string(),
        };
        let connection = connection.map_err(unreadable)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL;
                 CREATE TABLE IF NOT EXISTS entry (
                     kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
                     PRIMARY KEY (kind, name)
                 ) WITHOUT ROWID;",
            )
            .map_err(unreadable)?;
        Ok(Entries { connection: Arc::new(Mutex::new(connection)), file })
    }

    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, StateError> {
        let text: Option<String> = self
            .connection()
            .query_row(
                "SELECT value FROM entry WHERE kind = ?1 AND name = ?2",
                (kind, name),
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.unreadable(&error))?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.unreadable(&error)))
            .transpose()
    }

    pub(crate) fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, StateError> {
        let connection = self.connection();
        let texts: Vec<String> = connection
            .prepare("SELECT value FROM entry WHERE kind = ?1 ORDER BY name")
            .and_then(|mut statement| statement.query_map([kind], |row| row.get(0))?.collect())
            .map_err(|error| self.unreadable(&error))?;
        texts
            .iter()
            .map(|text| serde_json::from_str(text).map_err(|error| self.unreadable(&error)))
            .collect()
    }

    pub(crate) fn put<T: Serialize>(
        &self,
        kind: &str,
        name: &str,
        value: &T,
    ) -> Result<(), StateError> {
        let text = serde_json::to_string(value).map_err(|error| self.unreadable(&error))?;
        self.connection()
            .execute("INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3)", (kind, name, text))
            .map_err(|error| self.unreadable(&error))?;
        Ok(())
    }

    /// Keeps this unless there is a value already, and gives what is there.
    pub(crate) fn get_or_put<T: Serialize + DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
        value: T,
    ) -> Result<T, StateError> {
        let text = serde_json::to_string(&value).map_err(|error| self.unreadable(&error))?;
        self.connection()
            .execute("INSERT OR IGNORE INTO entry VALUES (?1, ?2, ?3)", (kind, name, text))
            .map_err(|error| self.unreadable(&error))?;
        Ok(self.get(kind, name)?.unwrap_or(value))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable(&self, problem: &dyn std::error::Error) -> StateError {
        StateError::Unreadable { file: self.file.clone(), problem: problem.to_string() }
    }
}
