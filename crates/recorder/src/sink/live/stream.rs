//! Output of a live view: whole lines, written only when the output has space.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PIPE_BUF;

use super::End;

/// Lines for a file, a pipe, a socket or a terminal. The output may be shared with other processes, so its
/// flags are not changed.
pub struct Stream {
    file: File,
    lines: Vec<u8>,
}

impl Stream {
    /// Creates a stream for `output`.
    pub fn new(output: OwnedFd) -> Self {
        Stream { file: output.into(), lines: Vec::with_capacity(PIPE_BUF) }
    }

    /// Whether `line` fits into the buffer. A pipe with space accepts a full buffer whole and at once.
    pub fn fits(&self, line: &[u8]) -> bool {
        self.lines.is_empty() || self.lines.len() + line.len() <= PIPE_BUF
    }

    /// Appends `line` to the buffer for [`Stream::write`].
    pub fn push(&mut self, line: &[u8]) {
        self.lines.extend_from_slice(line);
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the output accepts data; waits for that at most `patience`.
    pub fn has_room(&self, patience: Duration) -> Result<bool, End> {
        let patience = Timespec::try_from(patience).ok();
        let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
        match poll(&mut fds, patience.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => Err(End::Closed),
            Ok(_) => Ok(true),
            Err(error) => Err(End::Failed(error.into())),
        }
    }

    /// Writes as much of the buffer as the output accepts.
    pub fn write(&mut self) -> Result<(), End> {
        match self.file.write(&self.lines) {
            Ok(written) => drop(self.lines.drain(..written)),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => {}
                ErrorKind::BrokenPipe => return Err(End::Closed),
                _ => return Err(End::Failed(error)),
            },
        }
        Ok(())
    }
}
