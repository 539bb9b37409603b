//! One record: `struct blk_io_trace` of the kernel's include/uapi/linux/blktrace_api.h, in the byte order of the machine that was traced.

use iostrata_capture::column::Comm;

/// Of a record without what follows it.
pub const HEADER_BYTES: usize = 48;

/// The upper three bytes of the first word.
const MAGIC: u32 = 0x6561_7400;

/// The lowest byte of it.
const VERSION: u32 = 7;

/// What follows a record, as far as anything is made of it: a cgroup's number and what is largest of the rest.
pub const KEPT_BYTES: usize = 24;

/// Categories (`BLK_TC_*`): the upper half of `action`.
pub mod category {
    /// A write, or else a read.
    pub const WRITE: u32 = 1 << 1;
    /// With an order to empty the disk's cache (`REQ_PREFLUSH`), or nothing but that.
    pub const FLUSH: u32 = 1 << 2;
    /// Somebody waits for it.
    pub const SYNC: u32 = 1 << 3;
    /// A driver's own command.
    pub const DRIVER: u32 = 1 << 9;
    /// Nothing that happened to a request: who somebody is, what time it is.
    pub const NOTIFY: u32 = 1 << 10;
    /// Read ahead.
    pub const AHEAD: u32 = 1 << 11;
    /// Metadata.
    pub const META: u32 = 1 << 12;
    /// A discard.
    pub const DISCARD: u32 = 1 << 13;
    /// To be on the medium when it completes.
    pub const FUA: u32 = 1 << 15;
}

/// In `action`: the number of a cgroup follows the record.
const WITH_CGROUP: u32 = 1 << 8;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Counts the records of its device and CPU, but for notices.
    pub sequence: u32,
    /// When, by the clock of the trace, in nanoseconds.
    pub time: u64,
    /// First sector, in units of 512 bytes.
    pub sector: u64,
    /// Size.
    pub bytes: u32,
    /// The thread that ran when it happened.
    pub pid: u32,
    /// What was traced (`major << 20 | minor`).
    pub device: u32,
    /// Where it happened.
    pub cpu: u32,
    /// 0, or the negative errno of a completion.
    pub error: i16,
    /// Of what follows the record.
    pub payload_bytes: u16,
    action: u32,
    payload: [u8; KEPT_BYTES],
    is_big_endian: bool,
}

/// What a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// What happened to a bio or request.
    Block(Action),
    /// Something else.
    Notice(Notice),
}

/// What happens to bios and requests on their way (`__BLK_TA_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Q: a bio was queued.
    Queue,
    /// G: a request was allocated for a bio.
    Allocate,
    /// X: a bio was split; this is its front.
    Split,
    /// I: a request went to the scheduler.
    Insert,
    /// D: a request went to the driver.
    Issue,
    /// R: the driver handed it back.
    Requeue,
    /// C: some bytes of it completed, or a bio that no request was made of.
    Complete,
    /// A: a bio that was sent to another device goes on at this one.
    Remap {
        /// Where it was sent (`major << 20 | minor`); where it goes on is what was traced.
        from: u32,
    },
    /// What follows from the others (merges, of which I or D show the sum) or is of no request (plugs).
    Other,
}

/// What is told beside requests (`__BLK_TN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The command name of the thread.
    Process(Comm),
    /// The time of day at the time of the record: nanoseconds since 1970.
    Clock(i64),
    /// Something that somebody wrote into the trace.
    Other,
}

/// What a request or bio is, as far as two that are one have it in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A read.
    Read,
    /// A write, or an empty one: a flush as its submitter sees it.
    Write,
    /// A discard.
    Discard,
    /// The block layer's own flush command.
    DeviceFlush,
    /// A driver's own command towards the host.
    DriverIn,
    /// A driver's own command towards the device.
    DriverOut,
}

/// Whether these bytes may be the first of a record, as far as they go.
pub fn may_begin(bytes: &[u8]) -> bool {
    let word = MAGIC | VERSION;
    [word.to_le_bytes(), word.to_be_bytes()]
        .iter()
        .any(|magic| bytes.iter().zip(magic).all(|(byte, of_magic)| byte == of_magic))
}

/// Whether the first of a record are somewhere within these bytes.
pub fn is_within(bytes: &[u8]) -> bool {
    bytes.windows(size_of::<u32>()).any(may_begin)
}

impl Record {
    /// The record of these bytes, or what is wrong with them. What follows it is not there yet.
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

    /// Puts down the beginning of what follows the record.
    pub fn keep(&mut self, payload: &[u8]) {
        self.payload.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
    }

    /// What it tells of.
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
            // Big-endian on any machine.
            15 => Action::Remap { from: u32::from_be_bytes(word(told, 0)) },
            _ => Action::Other,
        })
    }

    /// What follows the record, but for the cgroup's number.
    fn told(&self) -> &[u8] {
        let skipped = if self.action & WITH_CGROUP != 0 { size_of::<u64>() } else { 0 };
        let end = usize::from(self.payload_bytes).min(KEPT_BYTES);
        self.payload.get(skipped..end).unwrap_or_default()
    }

    /// The cgroup that the block layer charges, where tracing was asked for it.
    pub fn cgroup_id(&self) -> Option<i64> {
        let is_there = self.action & WITH_CGROUP != 0 && usize::from(self.payload_bytes) >= size_of::<u64>();
        is_there.then(|| u64::from_be_bytes(ordered(word(&self.payload, 0), self.is_big_endian)) as i64)
    }

    /// Whether it is of this category.
    pub const fn has(&self, category: u32) -> bool {
        (self.action >> 16) & category != 0
    }

    /// What the bio or request is.
    pub fn kind(&self) -> Kind {
        match (self.has(category::DRIVER), self.has(category::WRITE)) {
            (true, false) => Kind::DriverIn,
            (true, true) => Kind::DriverOut,
            _ if self.has(category::DISCARD) => Kind::Discard,
            (_, true) => Kind::Write,
            // The kernel calls it no write, and a read has no such order.
            _ if self.has(category::FLUSH) => Kind::DeviceFlush,
            _ => Kind::Read,
        }
    }
}

/// `N` bytes from a place on; zeros where there are none.
fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.iter_mut().zip(bytes.iter().skip(at)).for_each(|(to, from)| *to = *from);
    word
}

/// The bytes of a number, most significant first.
fn ordered<const N: usize>(mut bytes: [u8; N], is_big_endian: bool) -> [u8; N] {
    if !is_big_endian {
        bytes.reverse();
    }
    bytes
}

/// A command name: what comes after the NUL is none of it.
fn comm(mut bytes: [u8; 16]) -> Comm {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(15).min(15);
    bytes.iter_mut().skip(end).for_each(|byte| *byte = 0);
    Comm(bytes)
}
