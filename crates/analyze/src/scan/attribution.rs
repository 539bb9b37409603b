//! Attribution key: the fields of a row that select an accumulator.

use std::hash::{Hash, Hasher};

use iostrata_capture::op::IoClass;

use super::kind::{KIND_BITS, Kind};

/// Attribution and kind of a row, from its fields. They are the same for all rows of an accumulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowAttribution {
    /// Process id and start of the process, if the row has them; `None` without an owner.
    pub process: (Option<i32>, Start),
    /// Cgroup.
    pub cgroup: Option<i64>,
    /// Device and inode number.
    pub file: Option<(i32, i64)>,
    /// Disk.
    pub disk: Disk,
    /// Class, by which unattributed I/O is grouped.
    pub class: IoClass,
    /// Kind.
    pub kind: Kind,
}

/// Start of the process of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Start of the process that had the id at the time of the row.
    Then,
    /// Start in the row; without one the process is unknown.
    At(Option<i64>),
}

/// Disk of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// This disk.
    Is(i32),
    /// Disk that counts the requests of this file system or device.
    Of(Option<i32>),
}

impl Disk {
    /// Returns the disk in the row, if it has one.
    pub fn is(self) -> Option<i32> {
        match self {
            Disk::Is(dev) => Some(dev),
            Disk::Of(_) => None,
        }
    }
}

impl RowAttribution {
    /// Creates the fields of an operation on a file by process `pid` in `cgroup`.
    pub fn done(
        (pid, cgroup): (i32, Option<i64>),
        (dev, ino): (Option<i32>, Option<i64>),
        kind: Kind,
    ) -> RowAttribution {
        RowAttribution {
            process: (Some(pid), Start::Then),
            cgroup,
            file: dev.zip(ino),
            disk: Disk::Of(dev),
            class: IoClass::Data,
            kind,
        }
    }

    /// Creates the fields of unattributed requests; only the disk is known.
    pub fn nobodys(disk: i32, class: IoClass, kind: Kind) -> RowAttribution {
        RowAttribution { process: (None, Start::At(None)), cgroup: None, file: None, disk: Disk::Is(disk), class, kind }
    }
}

/// Number of bits of an [`AttributionKey`] that mark which fields exist, and their variants.
const THERE_BITS: u32 = 7;
const CLASS_BITS: u32 = 3;
const _: () = assert!(IoClass::ALL.len() <= 1 << CLASS_BITS && KIND_BITS + CLASS_BITS + THERE_BITS <= u32::BITS);

/// Compact form of [`RowAttribution`], which is compared and hashed for each row.
#[derive(Debug, Clone, Copy, Eq)]
pub struct AttributionKey([u64; 5]);

impl PartialEq for AttributionKey {
    /// Compares without a call of memcmp(), which a derived implementation makes.
    #[inline]
    fn eq(&self, other: &AttributionKey) -> bool {
        self.0.iter().zip(other.0).fold(0, |different, (mine, theirs)| different | (mine ^ theirs)) == 0
    }
}

impl AttributionKey {
    /// Encodes the fields.
    #[inline]
    pub fn of(told: &RowAttribution) -> AttributionKey {
        let RowAttribution { process: (pid, start), cgroup, file, disk, class, kind } = *told;
        let (start_ns, start_is) = match start {
            Start::Then => (0, 0),
            Start::At(None) => (0, 1),
            Start::At(Some(start_ns)) => (start_ns, 2),
        };
        let (disk, disk_is) = match disk {
            Disk::Is(disk) => (disk, 0),
            Disk::Of(None) => (0, 1),
            Disk::Of(Some(dev)) => (dev, 2),
        };
        let (dev, ino) = file.unwrap_or_default();
        let there = [pid.is_some(), cgroup.is_some(), file.is_some()];
        let there = there.iter().fold(disk_is << 2 | start_is, |bits, there| bits << 1 | u32::from(*there));
        let what = kind.code() << CLASS_BITS | class as u32;
        let two = |low: i32, high: u32| u64::from(low as u32) | u64::from(high) << 32;
        AttributionKey([
            ino as u64,
            two(pid.unwrap_or_default(), dev as u32),
            two(disk, what << THERE_BITS | there),
            start_ns as u64,
            cgroup.unwrap_or_default() as u64,
        ])
    }

    /// Decodes the fields.
    pub fn told(&self) -> RowAttribution {
        let [ino, pid_dev, disk_what, start_ns, cgroup] = self.0;
        let (pid, dev, disk, bits) =
            (pid_dev as i32, (pid_dev >> 32) as i32, disk_what as i32, (disk_what >> 32) as u32);
        let there = |bit: u32| bits >> bit & 1 == 1;
        let start = match bits >> 3 & 3 {
            0 => Start::Then,
            1 => Start::At(None),
            _ => Start::At(Some(start_ns as i64)),
        };
        let disk = match bits >> 5 & 3 {
            0 => Disk::Is(disk),
            1 => Disk::Of(None),
            _ => Disk::Of(Some(disk)),
        };
        let what = bits >> THERE_BITS;
        RowAttribution {
            process: (there(2).then_some(pid), start),
            cgroup: there(1).then_some(cgroup as i64),
            file: there(0).then_some((dev, ino as i64)),
            disk,
            class: IoClass::ALL[(what & ((1 << CLASS_BITS) - 1)) as usize % IoClass::ALL.len()],
            kind: Kind::of_code(what >> CLASS_BITS),
        }
    }
}

impl Hash for AttributionKey {
    /// Hashes all words: an ignored word could be chosen so that all rows collide.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|word| state.write_u64(*word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::kind::Counted;
    use iostrata_capture::op::{Direction, Layer};

    #[test]
    fn what_differs_in_anything_has_another_key() {
        let kind = Kind { layer: Layer::Block, direction: None, counted: Counted::Whole(None) };
        let whole = RowAttribution {
            process: (Some(1), Start::At(Some(0))),
            cgroup: Some(0),
            file: Some((0, 0)),
            disk: Disk::Is(0),
            class: IoClass::Data,
            kind,
        };
        let others = [
            RowAttribution { process: (None, Start::At(Some(0))), ..whole },
            RowAttribution { process: (Some(2), Start::At(Some(0))), ..whole },
            RowAttribution { process: (Some(1), Start::At(None)), ..whole },
            RowAttribution { process: (Some(1), Start::Then), ..whole },
            RowAttribution { process: (Some(1), Start::At(Some(1))), ..whole },
            RowAttribution { cgroup: None, ..whole },
            RowAttribution { cgroup: Some(-1), ..whole },
            RowAttribution { file: None, ..whole },
            RowAttribution { file: Some((0, 1)), ..whole },
            RowAttribution { file: Some((1, 0)), ..whole },
            RowAttribution { disk: Disk::Of(None), ..whole },
            RowAttribution { disk: Disk::Of(Some(0)), ..whole },
            RowAttribution { disk: Disk::Is(-1), ..whole },
            RowAttribution { class: IoClass::Discard, ..whole },
            RowAttribution { kind: Kind { layer: Layer::Fs, ..kind }, ..whole },
            RowAttribution { kind: Kind { direction: Some(Direction::Read), ..kind }, ..whole },
            whole,
        ];
        for (number, one) in others.iter().enumerate() {
            assert_eq!(AttributionKey::of(one).told(), *one);
            for other in &others[..number] {
                assert_ne!(AttributionKey::of(one), AttributionKey::of(other), "{one:?} {other:?}");
            }
        }
        assert_eq!(AttributionKey::of(&whole), AttributionKey::of(&whole.clone()));
    }
}
