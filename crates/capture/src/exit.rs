//! Exit codes that the programs share.

/// The result is incomplete, which a message reported.
pub const INCOMPLETE: u8 = 3;

/// The command line is invalid; the same code as that of the parser.
pub const USAGE: u8 = 2;

/// Invalid command line that the parser itself does not detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
