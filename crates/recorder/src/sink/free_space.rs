//! Free-space guard of the capture's disk: the recorder never fills it.

use iostrata_capture::dir::Dir;

/// Free space to leave for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinFree {
    /// Number of bytes.
    Bytes(u64),
    /// Percentage of the file system.
    Percent(u8),
}

impl MinFree {
    fn bytes(self, space: Space) -> u64 {
        match self {
            MinFree::Bytes(bytes) => bytes,
            MinFree::Percent(percent) => space.size_bytes / 100 * u64::from(percent),
        }
    }
}

/// Space of a file system.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Total size.
    pub size_bytes: u64,
    /// Free space available to the caller.
    pub free_bytes: u64,
}

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Enough space, as before.
    FreeSpace,
    /// Enough space again.
    RoomAgain,
    /// Not enough space any more: the free bytes, and the bytes to leave.
    Full { free_bytes: u64, least_bytes: u64 },
    /// Still not enough space.
    StillFull,
}

/// Free-space guard of one file system.
pub struct FreeSpace {
    directory: Dir,
    min_free: MinFree,
    full: bool,
}

impl FreeSpace {
    /// Creates a guard for the file system of `directory`.
    pub fn new(directory: Dir, min_free: MinFree) -> FreeSpace {
        FreeSpace { directory, min_free, full: false }
    }

    /// Whether `needed` bytes may be written. Must be called before each write, because other programs write to the file
    /// system too.
    pub fn check(&mut self, needed: u64) -> Verdict {
        self.space().map_or(Verdict::FreeSpace, |space| self.judge(space, needed))
    }

    /// Whether there is not enough space for `needed` bytes, or to resume after a pause.
    pub fn lacks(&self, needed: u64) -> bool {
        self.space().is_some_and(|space| self.is_full(space, needed))
    }

    /// Space of the file system; none if it cannot be queried. Writes to it fail too then, and report the error.
    fn space(&self) -> Option<Space> {
        let (size_bytes, free_bytes) = self.directory.space()?;
        Some(Space { size_bytes, free_bytes })
    }

    fn is_full(&self, space: Space, needed: u64) -> bool {
        let least_bytes = self.min_free.bytes(space);
        // Resuming at the first free byte would open and close parts repeatedly.
        let margin = if self.full { least_bytes / 2 } else { 0 };
        space.free_bytes < least_bytes.saturating_add(needed).saturating_add(margin)
    }

    fn judge(&mut self, space: Space, needed: u64) -> Verdict {
        let full = self.is_full(space, needed);
        let before = std::mem::replace(&mut self.full, full);
        match (before, full) {
            (false, false) => Verdict::FreeSpace,
            (true, false) => Verdict::RoomAgain,
            (false, true) => Verdict::Full { free_bytes: space.free_bytes, least_bytes: self.min_free.bytes(space) },
            (true, true) => Verdict::StillFull,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pauses_before_the_reserve_is_touched_and_goes_on_with_room_to_spare() {
        let mut room = FreeSpace::new(Dir::open("/".as_ref()).expect("there"), MinFree::Percent(10));
        let mut judge = |free_bytes, needed| room.judge(Space { size_bytes: 1000, free_bytes }, needed);
        assert_eq!(judge(150, 50), Verdict::FreeSpace);
        assert_eq!(judge(149, 50), Verdict::Full { free_bytes: 149, least_bytes: 100 });
        assert_eq!(judge(199, 50), Verdict::StillFull);
        assert_eq!(judge(200, 50), Verdict::RoomAgain);
        assert_eq!(judge(150, 50), Verdict::FreeSpace);
    }
}
