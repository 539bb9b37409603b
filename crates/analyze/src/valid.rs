//! Which times and sizes can be true: the one rule for all that reads rows, and for all that makes rows of a trace.
//!
//! A value that cannot be true is not used, in any result alike, and is counted ([`Checked`]). Nor can a sum be true that is too great for
//! the columns of the results: that is noticed in sums that have room for more.

use serde::{Deserialize, Serialize};

use crate::output::count;

/// No operation moves more bytes: Linux has at most 2 GiB in a call and less than 4 GiB in a request.
pub const MOST_BYTES: u64 = 1 << 48;

/// [`MOST_BYTES`], in words.
pub const MOST_BYTES_WORDS: &str = "256 TiB";

/// What columns of results have room for. A sum of some of what was added up is never greater than the sum of all.
const MOST_SUM: u128 = i64::MAX as u128;

/// The bytes of an operation, if they can be true.
#[inline]
pub fn bytes(bytes: i64) -> Option<u64> {
    u64::try_from(bytes).ok().filter(|bytes| *bytes <= MOST_BYTES)
}

/// When what began at `ts_ns` and took `dur_ns` ended, if that is known and can be true: times are 64-bit numbers of nanoseconds.
#[inline]
pub fn end_ns(ts_ns: i64, dur_ns: Option<i64>) -> Option<i64> {
    ts_ns.checked_add(dur_ns.filter(|ns| *ns >= 0)?)
}

/// Where on a disk, or in a file, a range ends, in bytes, if that can be true: positions are 64-bit numbers of bytes.
pub fn range_end(position: i64, bytes: i64) -> Option<i64> {
    position.checked_add(bytes).filter(|_| position >= 0 && bytes >= 0)
}

/// Values of rows, looked at one by one. Those that cannot be true were not used; the rows that hold them still count as operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Durations, or differences of durations, below zero.
    pub negative_durations: u64,
    /// Durations that end beyond any time.
    pub late_ends: u64,
    /// Sizes below zero.
    pub negative_bytes: u64,
    /// Sizes that no operation has.
    pub great_bytes: u64,
    /// Rows that stand for no event, or for more than any can.
    pub bad_weights: u64,
    /// All bytes of all rows, those of parts of requests once more: no sum in the results is greater. What else is counted by size, such as
    /// bios, is less of each row, or it is in here.
    pub all_bytes: u128,
    /// The longest duration of each row, added up.
    pub all_ns: u128,
}

impl Checked {
    /// Adds what is known of other rows.
    pub fn combine(&mut self, other: Checked) {
        for (mine, more) in [
            (&mut self.negative_durations, other.negative_durations),
            (&mut self.late_ends, other.late_ends),
            (&mut self.negative_bytes, other.negative_bytes),
            (&mut self.great_bytes, other.great_bytes),
            (&mut self.bad_weights, other.bad_weights),
        ] {
            *mine = mine.saturating_add(more);
        }
        self.all_bytes = self.all_bytes.saturating_add(other.all_bytes);
        self.all_ns = self.all_ns.saturating_add(other.all_ns);
    }

    /// Bytes that a row tells: nothing where they cannot be true.
    #[inline]
    pub fn bytes(&mut self, told: i64) -> u64 {
        bytes(told).unwrap_or_else(|| {
            let count = if told < 0 { &mut self.negative_bytes } else { &mut self.great_bytes };
            *count = count.saturating_add(1);
            0
        })
    }

    /// A duration that a row tells of what began at `ts_ns`; `None` where it tells none, and where it cannot be true.
    #[inline]
    pub fn duration(&mut self, ts_ns: i64, dur_ns: Option<i64>) -> Option<u64> {
        let told = dur_ns?;
        if end_ns(ts_ns, dur_ns).is_none() {
            let count = if told < 0 { &mut self.negative_durations } else { &mut self.late_ends };
            *count = count.saturating_add(1);
            return None;
        }
        u64::try_from(told).ok()
    }

    /// What of the values cannot be true, by kind; nothing where all can.
    pub fn ignored(&self) -> Option<String> {
        let above = format!(" above {MOST_BYTES_WORDS}");
        let kinds: Vec<String> = [
            (self.negative_durations, "duration", " below zero"),
            (self.late_ends, "duration", " with an end beyond 2^63 ns"),
            (self.negative_bytes, "size", " below zero"),
            (self.great_bytes, "size", &above),
            (self.bad_weights, "weight", ""),
        ]
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, what, how)| format!("{}{how}", count(number, what)))
        .collect();
        (!kinds.is_empty()).then(|| kinds.join(", "))
    }

    /// Which sums are too great for the columns of results.
    pub fn overflown(&self) -> Option<String> {
        let sums: Vec<String> = [(self.all_bytes, "bytes"), (self.all_ns, "nanoseconds of durations")]
            .into_iter()
            .filter(|(sum, _)| *sum > MOST_SUM)
            .map(|(sum, what)| format!("{sum} {what}"))
            .collect();
        (!sums.is_empty())
            .then(|| format!("all rows together have {}, beyond 2^63: sums end there", sums.join(" and ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_true_is_used_and_all_else_is_counted_by_its_kind() {
        let mut checked = Checked::default();
        let most = MOST_BYTES as i64;
        assert_eq!([0, most, most + 1, i64::MAX, -1].map(|bytes| checked.bytes(bytes)), [0, MOST_BYTES, 0, 0, 0]);
        let ends = [(0, 0), (0, i64::MAX), (1, i64::MAX), (i64::MAX, 0), (i64::MAX, 1), (-1, i64::MAX), (0, -1)];
        let durations = ends.map(|(ts_ns, ns)| checked.duration(ts_ns, Some(ns)));
        let greatest = Some(i64::MAX as u64);
        assert_eq!(durations, [Some(0), greatest, None, Some(0), None, greatest, None]);
        assert_eq!(checked.duration(5, None), None);
        checked.bad_weights = 2;
        assert_eq!(
            checked.ignored().as_deref(),
            Some(
                "1 duration below zero, 2 durations with an end beyond 2^63 ns, 1 size below zero, 2 sizes above 256 TiB, 2 weights"
            )
        );
        assert_eq!((Checked::default().ignored(), MOST_BYTES >> 40), (None, 256));
    }

    #[test]
    fn a_sum_is_told_as_soon_as_a_column_has_no_room_for_it() {
        let sums = |all_bytes, all_ns| Checked { all_bytes, all_ns, ..Checked::default() }.overflown();
        assert_eq!(sums(MOST_SUM, MOST_SUM), None);
        let told = "all rows together have 9223372036854775808 bytes, beyond 2^63: sums end there";
        assert_eq!(sums(MOST_SUM + 1, 0).as_deref(), Some(told));
        assert!(sums(0, u128::MAX).is_some_and(|told| told.contains("nanoseconds of durations")));
    }

    #[test]
    fn a_range_ends_within_64_bits() {
        assert_eq!(range_end(1, 2), Some(3));
        for (position, bytes) in [(i64::MAX, 1), (1, i64::MAX), (-1, 1), (1, -1)] {
            assert_eq!(range_end(position, bytes), None);
        }
    }
}
