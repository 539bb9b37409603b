//! Records one after the other, from one place or several of a file.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::record::{HEADER_BYTES, KEPT_BYTES, Record, is_within, may_begin};

/// So many bytes are read at once.
const READ_BYTES: usize = 64 << 10;

/// A reader of records. Several may read one file.
#[derive(Debug)]
pub struct Lane {
    file: Arc<File>,
    /// Where in the file its records are, but for those that are being read.
    places: VecDeque<Range<u64>>,
    /// What of the first of these has not been read into the buffer.
    left: Range<u64>,
    buffer: Vec<u8>,
    /// How much of the buffer was given out.
    used: usize,
    /// The begin of a record with which its last place ends.
    cut: u64,
}

impl Lane {
    /// A reader of the records in these places of `file`.
    pub fn new(file: Arc<File>, places: VecDeque<Range<u64>>) -> Lane {
        Lane { file, places, left: 0..0, buffer: Vec::new(), used: 0, cut: 0 }
    }

    /// Where in the file the next record begins.
    pub fn at(&self) -> u64 {
        let buffered = (self.buffer.len() - self.used) as u64;
        self.left.start.saturating_sub(buffered)
    }

    /// When there is no other record: how many bytes of one there are at the end, whose rest was cut off.
    pub fn cut_bytes(&self) -> u64 {
        self.cut
    }

    /// The next record, or what is wrong with it. What the file ends with may be the begin of one.
    pub fn next(&mut self) -> Result<Option<Record>> {
        while self.used == self.buffer.len() && self.left.is_empty() {
            match self.places.pop_front() {
                Some(place) => self.left = place,
                None => return Ok(None),
            }
        }
        let at = self.at();
        let Some(header) = self.ahead(HEADER_BYTES)?.first_chunk() else {
            if may_begin(&self.buffer[self.used..]) && self.places.is_empty() {
                return Ok(self.cut_off());
            }
            bail!(
                "byte {at}: the last bytes of the file are not the start of a record, expected a header of {HEADER_BYTES} bytes"
            );
        };
        let mut record = Record::parse(header).map_err(|what| anyhow::anyhow!("byte {at}: {what}"))?;
        let payload_bytes = usize::from(record.payload_bytes);
        let whole = self.ahead(HEADER_BYTES + payload_bytes)?;
        let Some(payload) = whole.get(HEADER_BYTES..HEADER_BYTES + payload_bytes) else {
            // A record that says too much of its length would be taken for the last one, with all those after it.
            if !is_within(whole.get(HEADER_BYTES..).unwrap_or_default()) && self.places.is_empty() {
                return Ok(self.cut_off());
            }
            bail!(
                "byte {at}: a record with {payload_bytes} bytes after it, expected fewer: another record begins within them"
            );
        };
        record.keep(payload.get(..KEPT_BYTES).unwrap_or(payload));
        self.used += HEADER_BYTES + payload_bytes;
        Ok(Some(record))
    }

    /// Gives out what is left, which is no whole record.
    fn cut_off(&mut self) -> Option<Record> {
        self.cut = (self.buffer.len() - self.used) as u64;
        self.used = self.buffer.len();
        None
    }

    /// What comes next: so many bytes, or fewer where the place ends.
    fn ahead(&mut self, bytes: usize) -> Result<&[u8]> {
        if self.buffer.len() - self.used < bytes && !self.left.is_empty() {
            self.buffer.drain(..self.used);
            self.used = 0;
            while self.buffer.len() < bytes && !self.left.is_empty() {
                let kept = self.buffer.len();
                let most = (self.left.end - self.left.start).min(READ_BYTES as u64) as usize;
                self.buffer.resize(kept + most, 0);
                let read = self.file.read_at(&mut self.buffer[kept..], self.left.start);
                self.buffer.truncate(kept + *read.as_ref().unwrap_or(&0));
                match read? {
                    // It has become shorter meanwhile.
                    0 => self.left.end = self.left.start,
                    read => self.left.start += read as u64,
                }
            }
        }
        Ok(&self.buffer[self.used..])
    }
}
