//! State of the bios and requests of one disk, until they complete.
//!
//! A bio waits from Q on. I and D records have the range of a request: all waiting bios in the range are part of it, so merge records are not needed.
//! Inserted requests, and those that the driver requeued (R), wait like bios; issued ones are found at C.

use super::names::Names;
use super::piece::{Ended, Piece};
use super::pieces::Pieces;
use super::record::{Action, Record};

/// Bios and requests of a disk in flight.
#[derive(Debug)]
pub struct Requests {
    dev: i32,
    level: i32,
    offset_ns: i64,
    /// Whether the trace has the queueing of bios.
    tells_queueing: bool,
    /// Not issued.
    waiting: Pieces,
    /// At the driver.
    issued: Pieces,
    /// Completed except for the end of their flush sequence, with the time.
    ending: Vec<(Piece, u64)>,
}

/// Numbers of bios and requests in flight at the end of the trace.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// At the driver.
    pub issued: u64,
    /// Not issued.
    pub waiting: u64,
    /// Dropped before, because there were too many.
    pub forgotten: u64,
}

impl Unfinished {
    /// Adds those of another disk.
    pub fn add(&mut self, other: Unfinished) {
        self.issued += other.issued;
        self.waiting += other.waiting;
        self.forgotten += other.forgotten;
    }
}

/// Maximum number of requests that wait for the end of their flush sequence; further ones end with their data.
const MOST_ENDING: usize = 1 << 10;

impl Requests {
    /// Begins with those of a disk with its stacking depth. `offset_ns` converts times of the trace to times since 1970; `tells_queueing` is a
    /// property of the whole trace.
    pub fn new((dev, level): (i32, i32), offset_ns: i64, tells_queueing: bool) -> Requests {
        let (waiting, issued) = (Pieces::default(), Pieces::default());
        Requests { dev, level, offset_ns, tells_queueing, waiting, issued, ending: Vec::new() }
    }

    /// Applies the next record, and returns the request that it completes.
    pub fn take(&mut self, record: &Record, action: Action, names: &Names) -> Option<Ended> {
        let (kind, sector, bytes) = (record.kind(), record.sector, u64::from(record.bytes));
        match action {
            Action::Queue => self.waiting.put(Piece::queued(record, names.submitter(record.pid))),
            Action::Allocate => {
                if !self.waiting.has(sector, |piece| piece.kind == kind && piece.bytes == bytes) {
                    self.waiting.put(Piece::allocated(record));
                }
            }
            Action::Split => {
                let whole = self.waiting.take(sector, |piece| piece.kind == kind && piece.bytes > bytes);
                if let (Some(mut front), true) = (whole, bytes > 0) {
                    let rest = front.split(bytes);
                    self.waiting.put(front);
                    self.waiting.put(rest);
                }
            }
            Action::Insert => {
                let mut piece = self.met_again(record);
                piece.insert(record);
                self.waiting.put(piece);
            }
            Action::Issue => {
                let mut piece = self.met_again(record);
                piece.issue(record);
                self.issued.put(piece);
            }
            Action::Requeue => {
                let piece = self.issued.take(sector, |piece| piece.kind == kind && piece.bytes == bytes);
                let mut piece = piece.unwrap_or_else(|| self.met_again(record));
                piece.requeue();
                self.waiting.put(piece);
            }
            Action::Complete => return self.complete(record),
            Action::Remap { .. } | Action::Other => {}
        }
        None
    }

    /// Returns, at the end of the trace, the requests that lack only the end of their flush sequence, and the numbers of those without completion.
    pub fn finish(self) -> (Vec<Ended>, Unfinished) {
        let (waiting, issued) = (&self.waiting, &self.issued);
        let forgotten = waiting.forgotten.saturating_add(issued.forgotten);
        let unfinished = Unfinished { issued: issued.count(), waiting: waiting.count(), forgotten };
        (self.ending.iter().map(|(piece, end)| self.ended(piece, *end)).collect(), unfinished)
    }

    /// Returns the request of an I, D or R record.
    fn met_again(&mut self, record: &Record) -> Piece {
        let known = self.waiting.take_range(record.kind(), record.sector, u64::from(record.bytes));
        known.unwrap_or_else(|| Piece::unseen(record))
    }

    fn complete(&mut self, record: &Record) -> Option<Ended> {
        let (kind, sector, bytes) = (record.kind(), record.sector, u64::from(record.bytes));
        let whole = self.issued.take(sector, |piece| piece.kind == kind && piece.bytes == bytes);
        let piece =
            whole.or_else(|| self.issued.take(sector, |piece| piece.kind == kind && piece.bytes > bytes && bytes > 0));
        let Some(mut piece) = piece else {
            if bytes == 0
                && let Some(at) = self.ending.iter().rposition(|(piece, _)| is_end_of(piece, record))
            {
                let (mut piece, _) = self.ending.remove(at);
                piece.complete(record);
                return Some(self.ended(&piece, record.time));
            }
            // Without issue: an empty flush, a failed bio, a bio of a device that makes no requests; or begun before the trace.
            let mut piece = self.met_again(record);
            piece.complete(record);
            return Some(self.ended(&piece, record.time));
        };
        piece.complete(record);
        if piece.bytes > 0 {
            self.issued.put(piece);
            return None;
        }
        if !piece.is_in_sequence() {
            return Some(self.ended(&piece, record.time));
        }
        self.ending.push((piece, record.time));
        (self.ending.len() > MOST_ENDING).then(|| {
            let (piece, end) = self.ending.remove(0);
            self.ended(&piece, end)
        })
    }

    fn ended(&self, piece: &Piece, end: u64) -> Ended {
        piece.ended((self.dev, self.level), (self.offset_ns, self.tells_queueing), end)
    }
}

/// Whether a completion without bytes ends the flush sequence of `piece`. Its sector is the start or the end of the data, depending on the kernel.
fn is_end_of(piece: &Piece, record: &Record) -> bool {
    piece.kind == record.kind() && (piece.sector == record.sector || piece.first() == record.sector)
}
