//! Reader of consecutive records from one or several byte ranges of a file.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Result, bail};

use super::record::{HEADER_BYTES, KEPT_BYTES, Record, is_within, may_begin};

/// Bytes per read.
const READ_BYTES: usize = 64 << 10;

/// Reader of records. Several may read one file.
#[derive(Debug)]
pub struct Lane {
    file: Arc<File>,
    /// Byte ranges of its records, without the range that is being read.
    places: VecDeque<Range<u64>>,
    /// Part of the current range that has not been read into the buffer.
    left: Range<u64>,
    buffer: Vec<u8>,
    /// Consumed bytes of the buffer.
    used: usize,
    /// Size in bytes of an incomplete record at the end of the last range.
    cut: u64,
}

impl Lane {
    /// Returns a reader of the records in these byte ranges of `file`.
    pub fn new(file: Arc<File>, places: VecDeque<Range<u64>>) -> Lane {
        Lane { file, places, left: 0..0, buffer: Vec::new(), used: 0, cut: 0 }
    }

    /// Returns the offset of the next record in the file.
    pub fn at(&self) -> u64 {
        let buffered = (self.buffer.len() - self.used) as u64;
        self.left.start.saturating_sub(buffered)
    }

    /// Returns, after the last record, the size of a truncated record at the end.
    pub fn cut_bytes(&self) -> u64 {
        self.cut
    }

    /// Returns the next record, or an error about its fault. The file may end with an incomplete record.
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
            // A record with too large a length would count as a truncated last one, together with all those after it.
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

    /// Consumes the incomplete record at the end.
    fn cut_off(&mut self) -> Option<Record> {
        self.cut = (self.buffer.len() - self.used) as u64;
        self.used = self.buffer.len();
        None
    }

    /// Returns at least `bytes` next bytes, or fewer at the end of the range.
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
                    // The file has become shorter since.
                    0 => self.left.end = self.left.start,
                    read => self.left.start += read as u64,
                }
            }
        }
        Ok(&self.buffer[self.used..])
    }
}
