//! Room on the disk of the capture: the recorder never fills it.

use iostrata_capture::dir::Dir;

/// Free space that is left for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinFree {
    /// So many bytes.
    Bytes(u64),
    /// A share of the file system.
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

/// What a file system has.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// All of it.
    pub size_bytes: u64,
    /// What is free for whoever asks.
    pub free_bytes: u64,
}

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is, as there was.
    Room,
    /// There is again.
    RoomAgain,
    /// Not any more: so much is free, so much is to be left.
    Full { free_bytes: u64, least_bytes: u64 },
    /// Still not.
    StillFull,
}

/// Watches the room on one file system.
pub struct Room {
    directory: Dir,
    min_free: MinFree,
    full: bool,
}

impl Room {
    /// For the file system that has `directory`.
    pub fn new(directory: Dir, min_free: MinFree) -> Room {
        Room { directory, min_free, full: false }
    }

    /// Whether `needed` bytes may be written. To be asked before they are: a file system has to be asked each time, for others
    /// write to it too.
    pub fn check(&mut self, needed: u64) -> Verdict {
        self.space().map_or(Verdict::Room, |space| self.judge(space, needed))
    }

    /// Whether there is none for `needed` bytes, or not enough to go on after a pause.
    pub fn lacks(&self, needed: u64) -> bool {
        self.space().is_some_and(|space| self.is_full(space, needed))
    }

    /// None of a file system that cannot be asked: it cannot be written to either, and that is told then.
    fn space(&self) -> Option<Space> {
        let (size_bytes, free_bytes) = self.directory.space()?;
        Some(Space { size_bytes, free_bytes })
    }

    fn is_full(&self, space: Space, needed: u64) -> bool {
        let least_bytes = self.min_free.bytes(space);
        // Not at the first byte that is freed: parts would be opened and closed for nothing.
        let margin = if self.full { least_bytes / 2 } else { 0 };
        space.free_bytes < least_bytes.saturating_add(needed).saturating_add(margin)
    }

    fn judge(&mut self, space: Space, needed: u64) -> Verdict {
        let full = self.is_full(space, needed);
        let before = std::mem::replace(&mut self.full, full);
        match (before, full) {
            (false, false) => Verdict::Room,
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
        let mut room = Room::new(Dir::open("/".as_ref()).expect("there"), MinFree::Percent(10));
        let mut judge = |free_bytes, needed| room.judge(Space { size_bytes: 1000, free_bytes }, needed);
        assert_eq!(judge(150, 50), Verdict::Room);
        assert_eq!(judge(149, 50), Verdict::Full { free_bytes: 149, least_bytes: 100 });
        assert_eq!(judge(199, 50), Verdict::StillFull);
        assert_eq!(judge(200, 50), Verdict::RoomAgain);
        assert_eq!(judge(150, 50), Verdict::Room);
    }
}
