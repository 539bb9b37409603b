//! Errors of captures, always with the path.

use std::path::{Path, PathBuf};

/// Error while writing or reading a capture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error of the operating system.
    #[error("{path}: cannot {action}: {reason}", path = path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Attempted action, as a verb phrase.
        action: &'static str,
        /// Reason.
        reason: std::io::Error,
    },
    /// Part that is not readable Parquet.
    #[error("{path}: not a readable Parquet file: {reason}", path = path.display())]
    Parquet {
        /// Path of the part.
        path: PathBuf,
        /// Reason.
        reason: parquet::errors::ParquetError,
    },
    /// Part with another schema than that of its table.
    #[error("{path}: {what}", path = path.display())]
    Schema {
        /// Path of the part.
        path: PathBuf,
        /// Column, what was found, what was expected.
        what: String,
    },
    /// Manifest that is missing, unreadable or of a newer version.
    #[error("{path}: {what}", path = path.display())]
    Manifest {
        /// Path of the manifest, or of the directory without one.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
    },
    /// Invalid line in the list of parts.
    #[error("{path}:{line}: {what}", path = path.display())]
    List {
        /// Path of the list.
        path: PathBuf,
        /// Line number, counted from 1.
        line: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// Mistake in a rules file.
    #[error("{path}:{line}: {what}")]
    Rules {
        /// Rules file as the user named it.
        path: String,
        /// Line number, counted from 1.
        line: usize,
        /// What was found and what was expected.
        what: String,
    },
    /// Read that the caller stopped.
    #[error("{what}")]
    Refused {
        /// Reason.
        what: String,
    },
}

/// Result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Creates an operating system error on `path` for the attempted `action`.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Error::Io { path: path.to_owned(), action, reason: source }
    }

    /// Creates a Parquet error for `path`.
    pub fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Error::Parquet { path: path.to_owned(), reason: source }
    }

    /// Creates an error about an invalid manifest at `path`.
    pub fn manifest(path: &Path, what: impl Into<String>) -> Self {
        Error::Manifest { path: path.to_owned(), what: what.into() }
    }
}
