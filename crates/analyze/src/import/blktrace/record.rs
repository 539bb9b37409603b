//! Record format: `struct blk_io_trace` of the kernel's include/uapi/linux/blktrace_api.h, in the byte order of the traced machine.

use iostrata_capture::column::Comm;

/// Size of a record without its payload.
pub const HEADER_BYTES: usize = 48;

/// Upper three bytes of the first word.
const MAGIC: u32 = 0x6561_7400;

/// Lowest byte of the first word.
const VERSION: u32 = 7;

/// Used size of the payload of a record: the number of a cgroup, and the largest of the other contents.
pub const KEPT_BYTES: usize = 24;

/// Categories (`BLK_TC_*`): the upper half of `action`.
pub mod category {
    /// A write, or else a read.
    pub const WRITE: u32 = 1 << 1;
    /// With a flush of the disk's cache (`REQ_PREFLUSH`), or only a flush.
    pub const FLUSH: u32 = 1 << 2;
    /// Synchronous: a task waits for it.
    pub const SYNC: u32 = 1 << 3;
    /// A driver's own command.
    pub const DRIVER: u32 = 1 << 9;
    /// A notice, not an event of a request: process name, wall-clock time.
    pub const NOTIFY: u32 = 1 << 10;
    /// Readahead.
    pub const AHEAD: u32 = 1 << 11;
    /// Metadata.
    pub const META: u32 = 1 << 12;
    /// A discard.
    pub const DISCARD: u32 = 1 << 13;
    /// On the medium at its completion (FUA).
    pub const FUA: u32 = 1 << 15;
}

/// Flag in `action`: the number of a cgroup follows the record.
const WITH_CGROUP: u32 = 1 << 8;

/// Record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Sequence number among the records of its device and CPU, notices excluded.
    pub sequence: u32,
    /// Time in ns, on the clock of the trace.
    pub time: u64,
    /// First sector, in units of 512 bytes.
    pub sector: u64,
    /// Size in bytes.
    pub bytes: u32,
    /// Thread that ran at that time.
    pub pid: u32,
    /// Traced device (`major << 20 | minor`).
    pub device: u32,
    /// CPU.
    pub cpu: u32,
    /// 0, or the negative errno of a completion.
    pub error: i16,
    /// Size of the payload.
    pub payload_bytes: u16,
    action: u32,
    payload: [u8; KEPT_BYTES],
    is_big_endian: bool,
}

/// Contents of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An event of a bio or request.
    Block(Action),
    /// Other information.
    Notice(Notice),
}

/// Events of bios and requests (`__BLK_TA_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Q: a bio was queued.
    Queue,
    /// G: a request was allocated for a bio.
    Allocate,
    /// X: a bio was split; this is its front part.
    Split,
    /// I: a request was inserted into the scheduler.
    Insert,
    /// D: a request was issued to the driver.
    Issue,
    /// R: the driver requeued a request.
    Requeue,
    /// C: some bytes of a request completed, or a bio without a request.
    Complete,
    /// A: a bio that was sent to another device was remapped to this one.
    Remap {
        /// Device to which it was sent (`major << 20 | minor`); the traced device is the target of the remap.
        from: u32,
    },
    /// Implied by other events (merges, which I or D include) or not about a request (plugs).
    Other,
}

/// Information other than requests (`__BLK_TN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Command name of the thread.
    Process(Comm),
    /// Wall-clock time of the record: nanoseconds since 1970.
    Clock(i64),
    /// Message written into the trace.
    Other,
}

/// Kind of a request or bio. It is the same in all records of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A read.
    Read,
    /// A write; an empty one is a flush by its submitter.
    Write,
    /// A discard.
    Discard,
    /// The block layer's own flush command.
    DeviceFlush,
    /// A driver's own command with data to the host.
    DriverIn,
    /// A driver's own command with data to the device.
    DriverOut,
}

/// Whether a record may begin with these bytes, which may be fewer than its magic.
pub fn may_begin(bytes: &[u8]) -> bool {
    let word = MAGIC | VERSION;
    [word.to_le_bytes(), word.to_be_bytes()]
        .iter()
        .any(|magic| bytes.iter().zip(magic).all(|(byte, of_magic)| byte == of_magic))
}

/// Whether a record begins anywhere within these bytes.
pub fn is_within(bytes: &[u8]) -> bool {
    bytes.windows(size_of::<u32>()).any(may_begin)
}

impl Record {
    /// Parses a record, or returns its fault. The payload is not set yet.
    pub fn parse(header: &[u8; HEADER_BYTES]) -> Result<Record, String> {
        let little = u32::from_le_bytes(word(header, 0));
        let is_big_endian = match (little, little.swap_bytes()) {
            (magic, _) if magic & !0xff == MAGIC => false,
            (_, magic) if magic & !0xff == MAGIC => true,
            _ => return Err(format!("begins with {little:#010x}, expected a record of blktrace (0x656174..)")),
        };
        let short = |at| u16::from_be_bytes(ordered(word(header, at), is_big_endian));
        let int = |at| u32::from_be_bytes(ordered(word(header, at), is_big_endian));
        let long = |at| u64::from_be_bytes(ordered(word(header, at), is_big_endian));
        let version = int(0) & 0xff;
        if version != VERSION {
            return Err(format!("is of version {version} of blktrace's format, expected {VERSION}"));
        }
        Ok(Record {
            sequence: int(4),
            time: long(8),
            sector: long(16),
            bytes: int(24),
            action: int(28),
            pid: int(32),
            device: int(36),
            cpu: int(40),
            error: short(44) as i16,
            payload_bytes: short(46),
            payload: [0; KEPT_BYTES],
            is_big_endian,
        })
    }

    /// Sets the first bytes of the payload.
    pub fn keep(&mut self, payload: &[u8]) {
        self.payload.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
    }

    /// Returns its contents.
    pub fn event(&self) -> Event {
        let (told, what) = (self.told(), self.action & 0xff);
        if self.has(category::NOTIFY) {
            return Event::Notice(match what {
                0 => Notice::Process(comm(word(told, 0))),
                1 => Notice::Clock({
                    let part = |at| i64::from(u32::from_be_bytes(ordered(word(told, at), self.is_big_endian)));
                    part(0) * 1_000_000_000 + part(4)
                }),
                _ => Notice::Other,
            });
        }
        Event::Block(match what {
            1 => Action::Queue,
            4 => Action::Allocate,
            6 => Action::Requeue,
            7 => Action::Issue,
            8 => Action::Complete,
            12 => Action::Insert,
            13 => Action::Split,
            // Big-endian on every machine.
            15 => Action::Remap { from: u32::from_be_bytes(word(told, 0)) },
            _ => Action::Other,
        })
    }

    /// Returns the payload without the number of the cgroup.
    fn told(&self) -> &[u8] {
        let skipped = if self.action & WITH_CGROUP != 0 { size_of::<u64>() } else { 0 };
        let end = usize::from(self.payload_bytes).min(KEPT_BYTES);
        self.payload.get(skipped..end).unwrap_or_default()
    }

    /// Returns the cgroup that the block layer charges, if it was traced.
    pub fn cgroup_id(&self) -> Option<i64> {
        let is_there = self.action & WITH_CGROUP != 0 && usize::from(self.payload_bytes) >= size_of::<u64>();
        is_there.then(|| u64::from_be_bytes(ordered(word(&self.payload, 0), self.is_big_endian)) as i64)
    }

    /// Whether it has this category.
    pub const fn has(&self, category: u32) -> bool {
        (self.action >> 16) & category != 0
    }

    /// Returns the kind of the bio or request.
    pub fn kind(&self) -> Kind {
        match (self.has(category::DRIVER), self.has(category::WRITE)) {
            (true, false) => Kind::DriverIn,
            (true, true) => Kind::DriverOut,
            _ if self.has(category::DISCARD) => Kind::Discard,
            (_, true) => Kind::Write,
            // The kernel does not mark it as a write, and a read has no flush.
            _ if self.has(category::FLUSH) => Kind::DeviceFlush,
            _ => Kind::Read,
        }
    }
}

/// Returns `N` bytes from an offset, padded with zeros.
fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.iter_mut().zip(bytes.iter().skip(at)).for_each(|(to, from)| *to = *from);
    word
}

/// Returns the bytes of a number, most significant first.
fn ordered<const N: usize>(mut bytes: [u8; N], is_big_endian: bool) -> [u8; N] {
    if !is_big_endian {
        bytes.reverse();
    }
    bytes
}

/// Returns a command name; bytes after the NUL are cleared.
fn comm(mut bytes: [u8; 16]) -> Comm {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(15).min(15);
    bytes.iter_mut().skip(end).for_each(|byte| *byte = 0);
    Comm(bytes)
}
