//! The state that survives a restart: a folder, or nothing but memory.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::random;

/// Where state is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In this folder, which is created if it is missing.
    Folder(PathBuf),
    /// In memory; logs go to a temporary folder that is removed at the end.
    Memory,
}

/// The opened state. It holds the folder's lock until it is dropped.
#[derive(Debug)]
pub(crate) struct State {
    keep: Keep,
    logs: PathBuf,
    /// Set to keep the logs after the end.
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
    /// The folder can't be created or written.
    #[error("cannot use the state folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// There is no space left, or this user's quota is used up.
    #[error(
        "the disk is full: {} can't be written; free some space and start the stack again, and \
         what it has stored is still there",
        .0.display()
    )]
    DiskFull(PathBuf),
    /// A database in the folder can't be read.
    #[error(
        "cannot read the state in {}: {problem}; to start afresh, move that file away",
        file.display()
    )]
    Unreadable {
        /// The database file.
        file: PathBuf,
        /// The database's error.
        problem: String,
    },
}

impl StateError {
    /// The error when the folder can't be created or written.
    fn of_folder(folder: &Path, source: std::io::Error) -> StateError {
        if is_out_of_space(source.kind()) {
            StateError::DiskFull(folder.to_owned())
        } else {
            StateError::Folder { folder: folder.to_owned(), source }
        }
    }

    /// The error when a database fails.
    pub(crate) fn of_database(file: &Path, error: &rusqlite::Error) -> StateError {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            StateError::DiskFull(file.to_owned())
        } else {
            StateError::Unreadable { file: file.to_owned(), problem: error.to_string() }
        }
    }
}

fn is_out_of_space(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The disk with the state. After a 5xx it is checked for free space: on a full disk neither the
/// table nor the functions' logs can be written, so nothing else would give the reason.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    folder: Option<PathBuf>,
}

impl Disk {
    /// The message for the developer if nothing can be written any more.
    pub(crate) fn complaint(&self) -> Option<String> {
        let folder = self.folder.as_ref()?;
        let probe = folder.join(PROBE);
        let written = std::fs::write(&probe, vec![0; PROBE_BYTES]);
        // Leftovers are overwritten the next time.
        let _ = std::fs::remove_file(&probe);
        let error = written.err().filter(|error| is_out_of_space(error.kind()))?;
        Some(StateError::of_folder(folder, error).to_string())
    }
}

/// The file that is written to check for space.
const PROBE: &str = "space";
/// A few pages of a database.
const PROBE_BYTES: usize = 64 * 1024;

impl State {
    pub(crate) fn open(keep: Keep) -> Result<State, StateError> {
        let folder = match &keep {
            Keep::Folder(folder) => folder.clone(),
            Keep::Memory => {
                std::env::temp_dir().join(format!("coursegate-{}", random::token::<8>()))
            }
        };
        let failed = |source| StateError::of_folder(&folder, source);
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

    /// A file in the folder; none if everything is in memory.
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

    /// The disk with the folder; none if everything is in memory.
    pub(crate) fn disk(&self) -> Disk {
        let folder = match &self.keep {
            Keep::Folder(folder) => Some(folder.clone()),
            Keep::Memory => None,
        };
        Disk { folder }
    }

    /// Keeps the logs even when nothing else is kept.
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
            // A leftover in the temporary folder is harmless.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Named JSON values by kind: the state of sign-in and Secrets Manager.
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
        let failed = |error: rusqlite::Error| StateError::of_database(&file, &error);
        let connection = connection.map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = NORMAL;
                 CREATE TABLE IF NOT EXISTS entry (
                     kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
                     PRIMARY KEY (kind, name)
                 ) WITHOUT ROWID;",
            )
            .map_err(failed)?;
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
            .map_err(|error| self.failed(&error))?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.unreadable(&error)))
            .transpose()
    }

    pub(crate) fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, StateError> {
        let connection = self.connection();
        let texts: Vec<String> = connection
            .prepare("SELECT value FROM entry WHERE kind = ?1 ORDER BY name")
            .and_then(|mut statement| statement.query_map([kind], |row| row.get(0))?.collect())
            .map_err(|error| self.failed(&error))?;
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
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }

    /// Stores this unless there is a value already, and returns the stored value.
    pub(crate) fn get_or_put<T: Serialize + DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
        value: T,
    ) -> Result<T, StateError> {
        let text = serde_json::to_string(&value).map_err(|error| self.unreadable(&error))?;
        self.connection()
            .execute("INSERT OR IGNORE INTO entry VALUES (?1, ?2, ?3)", (kind, name, text))
            .map_err(|error| self.failed(&error))?;
        Ok(self.get(kind, name)?.unwrap_or(value))
    }

    pub(crate) fn remove(&self, kind: &str, name: &str) -> Result<(), StateError> {
        self.connection()
            .execute("DELETE FROM entry WHERE kind = ?1 AND name = ?2", (kind, name))
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &rusqlite::Error) -> StateError {
        StateError::of_database(&self.file, error)
    }

    fn unreadable(&self, error: &serde_json::Error) -> StateError {
        StateError::Unreadable { file: self.file.clone(), problem: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A temporary folder, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let folder = std::env::temp_dir().join(format!("state-{}", random::token::<8>()));
            std::fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Forbids further pages: from now on, SQLite finds its disk full.
    fn fill(connection: &Connection) {
        connection.pragma_update(None, "max_page_count", 1).unwrap();
    }

    #[test]
    fn a_full_disk_is_reported_and_loses_no_stored_state() {
        let folder = Folder::new();
        let file = folder.0.join("local.db");
        let entries = Entries::open(Some(file.clone())).unwrap();
        entries.put("kind", "before", &"kept").unwrap();
        fill(&entries.connection());
        let large = "x".repeat(100_000);
        let put = entries.put("kind", "large", &large).unwrap_err();
        let get_or_put = entries.get_or_put("kind", "large", large).unwrap_err();
        for error in [put, get_or_put] {
            let expected = format!("the disk is full: {} can't be written;", file.display());
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        assert_eq!(entries.get::<String>("kind", "before").unwrap().as_deref(), Some("kept"));
        // Any other failure of the database doesn't mean a full disk.
        let none = entries.connection().execute("SELECT * FROM nothing", ()).unwrap_err();
        assert!(matches!(entries.failed(&none), StateError::Unreadable { .. }));
    }

    #[test]
    fn a_folder_that_can_t_be_made_says_why() {
        for (kind, expected) in [
            (ErrorKind::StorageFull, "the disk is full"),
            (ErrorKind::QuotaExceeded, "the disk is full"),
            (ErrorKind::PermissionDenied, "cannot use the state folder"),
        ] {
            let error = StateError::of_folder(Path::new("state"), kind.into()).to_string();
            assert!(error.starts_with(expected), "{kind:?}: {error}");
        }
    }
}
