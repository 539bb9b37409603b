//! The output of a live view: whole lines, written only when there is room for them.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PIPE_BUF;

use super::End;

/// Lines for a file, a pipe, a socket or a terminal, which may be shared with others: its flags are left alone.
pub struct Stream {
    file: File,
    lines: Vec<u8>,
}

impl Stream {
    /// Lines for `output`.
    pub fn new(output: OwnedFd) -> Self {
        Stream { file: output.into(), lines: Vec::with_capacity(PIPE_BUF) }
    }

    /// Whether `line` may join those that wait. A pipe that has room takes this much whole and at once.
    pub fn fits(&self, line: &[u8]) -> bool {
        self.lines.is_empty() || self.lines.len() + line.len() <= PIPE_BUF
    }

    /// Lets `line` wait for [`Stream::write`].
    pub fn push(&mut self, line: &[u8]) {
        self.lines.extend_from_slice(line);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the output takes more, waiting at most `patience` for that.
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

    /// Writes what the output takes of the lines that wait.
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
