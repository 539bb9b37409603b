//! Rows per loss window, counted during the scan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use iostrata_capture::TableId;

use crate::entity::CaptureNumber;

/// Loss windows of one table. They may overlap: each interval between two adjacent ends has a counter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows {
    /// Ends of windows, ascending, unique.
    ends: Vec<i64>,
}

impl Windows {
    /// Creates the windows from pairs of nanoseconds; a window excludes the first and includes the second.
    pub fn new(times: impl Iterator<Item = (i64, i64)>) -> Windows {
        let mut ends: Vec<i64> = times.flat_map(|(since_ns, until_ns)| [since_ns, until_ns]).collect();
        ends.sort_unstable();
        ends.dedup();
        Windows { ends }
    }

    /// Returns the number of counters.
    pub fn places(&self) -> usize {
        self.ends.len() + 1
    }

    /// Returns the counter of a row that ended at `ns`.
    pub fn place(&self, ns: i64) -> usize {
        self.ends.partition_point(|end| *end < ns)
    }

    /// Returns the ends that determine the counters of rows that ended at or before `ns`.
    pub fn until(&self, ns: i64) -> &[i64] {
        &self.ends[..self.place(ns.saturating_add(1))]
    }

    /// Returns the number of counted rows (`None`: no rows) that ended after `since_ns` and until `until_ns`, which must be ends of these windows.
    pub fn between(&self, counts: Option<&Vec<u64>>, since_ns: i64, until_ns: i64) -> u64 {
        let places = self.place(since_ns).saturating_add(1)..=self.place(until_ns);
        let counts = counts.and_then(|counts| counts.get(places)).unwrap_or_default();
        counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Rows per counter, by number of the capture and table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct During(BTreeMap<(CaptureNumber, TableId), Vec<u64>>);

impl During {
    /// Adds the counters of one part.
    pub fn add(&mut self, capture: CaptureNumber, table: TableId, counts: Vec<u64>) {
        let sums = self.0.entry((capture, table)).or_default();
        if sums.len() < counts.len() {
            sums.resize(counts.len(), 0);
        }
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(count));
    }

    /// Adds the counters of `other`.
    pub fn combine(&mut self, other: During) {
        for ((capture, table), counts) in other.0 {
            self.add(capture, table, counts);
        }
    }

    /// Returns the counters of a table; `None` if it has none.
    pub fn of(&self, capture: CaptureNumber, table: TableId) -> Option<&Vec<u64>> {
        self.0.get(&(capture, table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_within_a_time_is_counted_in_it_and_in_those_that_overlap_it() {
        let times = [(10, 20), (15, 30), (40, 40)];
        let windows = Windows::new(times.into_iter());
        let mut counts = vec![0; windows.places()];
        for ns in [5, 10, 11, 15, 16, 20, 21, 30, 31, 40, 41, i64::MIN, i64::MAX] {
            counts[windows.place(ns)] += 1;
        }
        assert_eq!(times.map(|(since, until)| windows.between(Some(&counts), since, until)), [4, 4, 0]);
        assert_eq!(windows.between(None, 10, 20), 0);
    }

    #[test]
    fn counts_of_parts_add_up_whatever_their_order() {
        let (mut one, mut other) = (During::default(), During::default());
        let [first, second, third] = [0, 1, 2].map(|place| CaptureNumber::new(place, ""));
        one.add(first, TableId::Block, vec![1, 2]);
        other.add(first, TableId::Block, vec![0, 5, 7]);
        other.add(second, TableId::Block, vec![u64::MAX]);
        other.add(second, TableId::Block, vec![1]);
        let mut sum = one.clone();
        sum.combine(other.clone());
        other.combine(one);
        assert_eq!(sum, other);
        assert_eq!(sum.of(first, TableId::Block), Some(&vec![1, 7, 7]));
        assert_eq!((sum.of(second, TableId::Block), sum.of(third, TableId::Block)), (Some(&vec![u64::MAX]), None));
    }
}
