//! What can be wrong with a capture, always with the path at fault.

use std::path::{Path, PathBuf};

/// A capture that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: cannot {action}: {reason}", path = path.display())]
    Io {
        /// The file or directory at fault.
        path: PathBuf,
        /// What was attempted, as a verb phrase.
        action: &'static str,
        /// The reason.
        reason: std::io::Error,
    },
    /// A part is not readable Parquet.
    #[error("{path}: not a readable Parquet file: {reason}", path = path.display())]
    Parquet {
        /// The part.
        path: PathBuf,
        /// The reason.
        reason: parquet::errors::ParquetError,
    },
    /// A part is Parquet but not of the table it should hold.
    #[error("{path}: {what}", path = path.display())]
    Schema {
        /// The part.
        path: PathBuf,
        /// Which column, what was found, what was expected.
        what: String,
    },
    /// The manifest is missing, unreadable or of a newer version.
    #[error("{path}: {what}", path = path.display())]
    Manifest {
        /// The manifest, or the directory without one.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// The list of parts has a line that is none.
    #[error("{path}:{line}: {what}", path = path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// A rules file has a mistake.
    #[error("{path}:{line}: {what}")]
    Rules {
        /// The rules file as the user named it.
        path: String,
        /// Line, counted from 1.
        line: usize,
        /// What was found and what was expected.
        what: String,
    },
    /// Whoever reads had enough.
    #[error("{what}")]
    Refused {
        /// Why.
        what: String,
    },
}

/// Shorthand for this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An operating-system error on `path` while trying to `action`.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Error::Io { path: path.to_owned(), action, reason: source }
    }

    /// A Parquet error in `path`.
    pub fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Error::Parquet { path: path.to_owned(), reason: source }
    }

    /// A manifest at `path` that is not what it should be.
    pub fn manifest(path: &Path, what: impl Into<String>) -> Self {
        Error::Manifest { path: path.to_owned(), what: what.into() }
    }
}
