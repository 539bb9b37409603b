//! Sums of requests with a latency histogram.
//!
//! The histogram has four buckets to each power of two of the latency in µs, so a percentile is at most an eighth of its value from the true one.

use super::types::activity;

/// Number of buckets.
const SLOTS: usize = 128;

/// Sums of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Number of requests.
    pub requests: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Sum of the latencies.
    pub duration_ns: u64,
    /// Highest latency.
    pub max_ns: u64,
    /// Requests by latency.
    latency: [u64; SLOTS],
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { requests: 0, bytes: 0, duration_ns: 0, max_ns: 0, latency: [0; SLOTS] }
    }
}

/// Bounds of a bucket in µs, both inclusive.
fn bounds_us(slot: usize) -> (u64, u64) {
    if slot < 4 {
        return (slot as u64, slot as u64);
    }
    let (log, part) = (slot / 4 + 1, (slot % 4) as u64);
    let width = 1u64 << (log - 2);
    ((4 + part) * width, (5 + part) * width - 1)
}

impl From<&activity> for Sums {
    fn from(sums: &activity) -> Sums {
        let latency = sums.latency.map(u64::from);
        // Of two CPUs that set the maximum at once, one may have lost: its bucket remains.
        let highest_ns = latency.iter().rposition(|count| *count > 0).map_or(0, |slot| bounds_us(slot).0 * 1000);
        let max_ns = sums.max_ns.max(highest_ns);
        Sums { requests: sums.requests, bytes: sums.bytes, duration_ns: sums.duration_ns, max_ns, latency }
    }
}

impl Sums {
    /// Adds other sums.
    pub fn merge(&mut self, other: &Sums) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.duration_ns += other.duration_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
        self.latency.iter_mut().zip(&other.latency).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Average latency in ns; none without requests.
    pub fn average_ns(&self) -> Option<u64> {
        self.duration_ns.checked_div(self.requests)
    }

    /// Latency in ns that `share` of the requests do not exceed, interpolated within its bucket; none without requests.
    pub fn percentile_ns(&self, share: f64) -> Option<u64> {
        let all: u64 = self.latency.iter().sum();
        let rank = (share * all as f64).ceil().max(1.0);
        let mut below = 0u64;
        for (slot, count) in self.latency.iter().enumerate().filter(|(_, count)| **count > 0) {
            if (below + count) as f64 >= rank {
                let (low, high) = bounds_us(slot);
                let part = (rank - below as f64 - 0.5) / *count as f64;
                let us = low as f64 + (high + 1 - low) as f64 * part;
                return Some(((us * 1000.0) as u64).min(self.max_ns));
            }
            below += count;
        }
        None
    }

    /// Requests by power of two of their latency in µs, from bucket 0, which is 0 to 1 µs, to the highest used.
    pub fn log2_buckets(&self) -> Vec<u64> {
        let mut buckets = vec![0; SLOTS / 4 + 1];
        for (slot, count) in self.latency.iter().enumerate() {
            buckets[bounds_us(slot).0.max(1).ilog2() as usize] += count;
        }
        let used = buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        buckets.truncate(used);
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies_us: &[(usize, u32)], max_ns: u64) -> Sums {
        let mut raw = activity { max_ns, ..activity::default() };
        for (slot, count) in latencies_us {
            raw.latency[*slot] = *count;
            raw.requests += u64::from(*count);
        }
        Sums::from(&raw)
    }

    #[test]
    fn buckets_meet() {
        assert_eq!([0, 3, 4, 7, 8, 11].map(bounds_us), [(0, 0), (3, 3), (4, 4), (7, 7), (8, 9), (14, 15)]);
        for slot in 0..SLOTS - 1 {
            assert_eq!(bounds_us(slot).1 + 1, bounds_us(slot + 1).0);
        }
        assert_eq!(activity::default().latency.len(), SLOTS);
    }

    #[test]
    fn a_percentile_is_within_its_bucket_and_not_above_the_maximum() {
        assert_eq!(Sums::default().percentile_ns(0.5), None);
        // 90 requests from 8 to 9 µs, 10 from 1,024 to 1,279 µs.
        let sums = of(&[(8, 90), (36, 10)], 1_100_000);
        assert_eq!(sums.percentile_ns(0.5), Some(9_100));
        let p99 = sums.percentile_ns(0.99).expect("requests");
        assert_eq!(p99, 1_100_000, "the bucket ends at 1,279");
        assert_eq!(of(&[(8, 1)], 8_600).percentile_ns(0.01), Some(8_600));
    }

    #[test]
    fn powers_of_two_are_those_of_the_histograms() {
        let sums = of(&[(0, 1), (1, 2), (3, 4), (7, 8), (8, 16)], 0);
        assert_eq!(sums.log2_buckets(), [3, 4, 8, 16]);
        assert_eq!(Sums::default().log2_buckets(), [0u64; 0]);
    }

    #[test]
    fn a_lost_maximum_is_at_least_its_bucket() {
        assert_eq!(of(&[(36, 1)], 5_000).max_ns, 1_024_000);
    }
}
