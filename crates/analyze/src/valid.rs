//! Validity of times and sizes: the same rule for all readers of rows, and for all imports of traces.
//!
//! An invalid value is ignored in all results and counted ([`Checked`]). A sum is invalid if it exceeds the range of the columns of results; wider
//! sums detect that.

use serde::{Deserialize, Serialize};

use crate::output::count;

/// Maximum number of bytes of an operation: Linux has at most 2 GiB in a call and less than 4 GiB in a request.
pub const MOST_BYTES: u64 = 1 << 48;

/// [`MOST_BYTES`] as text.
pub const MOST_BYTES_WORDS: &str = "256 TiB";

/// Maximum value of columns of results. A partial sum never exceeds the sum of all.
const MOST_SUM: u128 = i64::MAX as u128;

/// Returns the bytes of an operation, if valid.
#[inline]
pub fn bytes(bytes: i64) -> Option<u64> {
    u64::try_from(bytes).ok().filter(|bytes| *bytes <= MOST_BYTES)
}

/// Returns the end of an operation with this begin and duration, if known and valid: times are 64-bit nanoseconds.
#[inline]
pub fn end_ns(ts_ns: i64, dur_ns: Option<i64>) -> Option<i64> {
    ts_ns.checked_add(dur_ns.filter(|ns| *ns >= 0)?)
}

/// Returns the end of a range on a disk or in a file, in bytes, if valid: offsets are 64-bit bytes.
pub fn range_end(position: i64, bytes: i64) -> Option<i64> {
    position.checked_add(bytes).filter(|_| position >= 0 && bytes >= 0)
}

/// Counts of invalid values in rows. Such values are ignored; their rows still count as operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Negative durations, or negative differences of durations.
    pub negative_durations: u64,
    /// Durations with an end beyond the range of times.
    pub late_ends: u64,
    /// Negative sizes.
    pub negative_bytes: u64,
    /// Sizes above the maximum.
    pub great_bytes: u64,
    /// Weights of zero, and weights above the maximum.
    pub bad_weights: u64,
    /// Sum of all bytes of all rows, with parts of requests counted once more: no sum in the results is greater. Other counts by size, such as
    /// bios, are smaller for each row, or are included.
    pub all_bytes: u128,
    /// Sum of the longest duration of each row.
    pub all_ns: u128,
}

impl Checked {
    /// Adds the counts of other rows.
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

    /// Returns the bytes of a row; zero if invalid.
    #[inline]
    pub fn bytes(&mut self, told: i64) -> u64 {
        bytes(told).unwrap_or_else(|| {
            let count = if told < 0 { &mut self.negative_bytes } else { &mut self.great_bytes };
            *count = count.saturating_add(1);
            0
        })
    }

    /// Returns the duration of a row that began at `ts_ns`; `None` if there is none or it is invalid.
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

    /// Lists the invalid values by kind; none if all are valid.
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

    /// Lists the sums that exceed the range of the columns of results.
    pub fn overflown(&self) -> Option<String> {
        let sums: Vec<String> = [(self.all_bytes, "bytes"), (self.all_ns, "nanoseconds of durations")]
            .into_iter()
            .filter(|(sum, _)| *sum > MOST_SUM)
            .map(|(sum, what)| format!("{sum} {what}"))
            .collect();
        (!sums.is_empty())
            .then(|| format!("all rows sum to {}, beyond 2^63: sums are capped there", sums.join(" and ")))
    }
}

/// Whether these are the numbers of a first and a last window of this length, which is above zero: begins in ns divided by the length.
pub fn are_windows((first, last): (i64, i64), width_ns: i64) -> bool {
    let number = |ns: i64| ns.div_euclid(width_ns);
    number(i64::MIN) <= first && first <= last && last <= number(i64::MAX)
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
        let told = "all rows sum to 9223372036854775808 bytes, beyond 2^63: sums are capped there";
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
