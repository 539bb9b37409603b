//! Streams of xz. The reader of the library returns nothing of a truncated chunk; this one returns all that can be decoded.

use std::io::{BufRead, Error, Read, Result};

use lzma_rust2::{Action, Status, XzStream};

/// Stream of xz and its input.
pub struct Xz<R> {
    input: R,
    stream: XzStream,
    is_over: bool,
    /// Error after the data that was returned.
    error: Option<Error>,
}

impl<R: BufRead> Xz<R> {
    /// Reads the stream at the position of `input`.
    pub fn new(input: R, most_window_kib: u32) -> Xz<R> {
        Xz { input, stream: XzStream::new_mem_limit(false, most_window_kib), is_over: false, error: None }
    }

    /// Returns the input, after the stream if that has ended.
    pub fn into_inner(self) -> R {
        self.input
    }
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if let Some(error) = self.error.take() {
            self.is_over = true;
            return Err(error);
        }
        while !self.is_over && !into.is_empty() {
            let input = self.input.fill_buf()?;
            let action = if input.is_empty() { Action::Finish } else { Action::Run };
            let before = (self.stream.total_in(), self.stream.total_out());
            let result = self.stream.process(input, into, action);
            // An error has no counts, but the data decoded before it is in `into`.
            let done = |now: u64, before: u64| usize::try_from(now.saturating_sub(before)).unwrap_or(0);
            let taken = done(self.stream.total_in(), before.0).min(input.len());
            let given = done(self.stream.total_out(), before.1).min(into.len());
            let is_stuck = taken == 0 && given == 0;
            self.input.consume(taken);
            match result {
                Ok(result) => self.is_over = result.status == Status::StreamEnd,
                Err(error) if given > 0 => self.error = Some(error),
                Err(error) => {
                    self.is_over = true;
                    return Err(error);
                }
            }
            if given > 0 {
                return Ok(given);
            }
            if is_stuck && !self.is_over {
                self.is_over = true;
                return Err(Error::other("the decoder makes no progress"));
            }
        }
        Ok(0)
    }
}
