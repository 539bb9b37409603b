//! Exit codes that the programs share.

/// What was asked for is there, and something of it is missing, which was said.
pub const INCOMPLETE: u8 = 3;

/// The command line cannot be meant, as the parser says it.
pub const USAGE: u8 = 2;

/// A command line that cannot be meant, which the parser itself does not notice.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
