//! The distribution of one set of durations.

use hdrhistogram::Histogram;

use super::Precision;
use super::count::average;

/// A percentile that is reported: its column and its place among 10,000.
#[derive(Debug, Clone, Copy)]
pub struct Percentile {
    /// The column's name.
    pub column: &'static str,
    /// What it is called in prose.
    pub name: &'static str,
    /// The quantile in ten-thousandths: an integer, because `ceil(0.99 * 100.0)` need not be 99.
    pub of_10_000: u64,
}

/// The percentiles that are reported, ascending.
pub const PERCENTILES: [Percentile; 6] = [
    Percentile { column: "p50_ns", name: "50th", of_10_000: 5_000 },
    Percentile { column: "p90_ns", name: "90th", of_10_000: 9_000 },
    Percentile { column: "p95_ns", name: "95th", of_10_000: 9_500 },
    Percentile { column: "p99_ns", name: "99th", of_10_000: 9_900 },
    Percentile { column: "p999_ns", name: "99.9th", of_10_000: 9_990 },
    Percentile { column: "p9999_ns", name: "99.99th", of_10_000: 9_999 },
];

impl Percentile {
    /// How many values it takes before at least one lies beyond the percentile: 1 / (1 - q).
    pub const fn needs(&self) -> u64 {
        10_000u64.div_ceil(10_000 - self.of_10_000)
    }

    /// The nearest rank, `ceil(q * n)`, counted from 1; `None` where `n` values do not support the percentile.
    fn rank(&self, n: u64) -> Option<u64> {
        let rank = (u128::from(n) * u128::from(self.of_10_000)).div_ceil(10_000);
        (n >= self.needs()).then(|| u64::try_from(rank).unwrap_or(u64::MAX))
    }
}

/// Durations in nanoseconds. Count, sum, least and greatest are exact; the values between them as [`Precision`] says.
#[derive(Debug, Clone)]
pub struct Sample {
    limit: usize,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
    values: Values,
}

/// The form depends on the number of values alone, never on the order in which they came or were merged.
#[derive(Debug, Clone)]
enum Values {
    Few(Vec<u64>),
    Histogram(Box<Histogram<u64>>),
}

/// What is reported of a sample, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Values.
    pub count: u64,
    /// The average, rounded.
    pub avg_ns: Option<u64>,
    /// The least value.
    pub min_ns: Option<u64>,
    /// Values at [`PERCENTILES`]; none where there are too few values to support it.
    pub percentiles_ns: [Option<u64>; PERCENTILES.len()],
    /// The greatest value.
    pub max_ns: Option<u64>,
}

impl Sample {
    /// No values.
    pub fn empty(precision: Precision) -> Sample {
        Sample { limit: precision.limit(), count: 0, sum: 0, min: u64::MAX, max: 0, values: Values::Few(Vec::new()) }
    }

    /// Adds one value.
    pub fn update(&mut self, ns: u64) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(u128::from(ns));
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
        match &mut self.values {
            Values::Few(values) => values.push(ns),
            Values::Histogram(histogram) => record(histogram, ns, 1),
        }
        self.promote();
    }

    /// Adds the values of `other`.
    pub fn combine(&mut self, other: Sample) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let mine = std::mem::replace(&mut self.values, Values::Few(Vec::new()));
        self.values = match (mine, other.values) {
            (Values::Few(mut values), Values::Few(more)) => {
                values.extend(more);
                Values::Few(values)
            }
            (Values::Few(values), Values::Histogram(mut histogram))
            | (Values::Histogram(mut histogram), Values::Few(values)) => {
                values.into_iter().for_each(|ns| record(&mut histogram, ns, 1));
                Values::Histogram(histogram)
            }
            (Values::Histogram(mut histogram), Values::Histogram(more)) => {
                more.iter_recorded().for_each(|v| record(&mut histogram, v.value_iterated_to(), v.count_at_value()));
                Values::Histogram(histogram)
            }
        };
        self.promote();
    }

    /// What the values come to.
    pub fn finish(self) -> Distribution {
        let some = |value: u64| (self.count > 0).then_some(value);
        let ranks = PERCENTILES.map(|p| p.rank(self.count));
        let at_ranks = match self.values {
            Values::Few(values) => of_values(values, ranks),
            Values::Histogram(histogram) => of_histogram(&histogram, ranks),
        };
        Distribution {
            count: self.count,
            avg_ns: average(self.sum, self.count),
            min_ns: some(self.min),
            // A bucket of the histogram may reach beyond the greatest value in it.
            percentiles_ns: at_ranks.map(|value| value.map(|ns| ns.min(self.max))),
            max_ns: some(self.max),
        }
    }

    fn promote(&mut self) {
        let Values::Few(values) = &self.values else { return };
        if values.len() <= self.limit {
            return;
        }
        let mut histogram = match Histogram::new(3) {
            Ok(histogram) => Box::new(histogram),
            Err(_) => unreachable!("three significant digits are within the five that are possible"),
        };
        values.iter().for_each(|ns| record(&mut histogram, *ns, 1));
        self.values = Values::Histogram(histogram);
    }
}

fn record(histogram: &mut Histogram<u64>, ns: u64, count: u64) {
    // It grows by itself, and the index of the greatest 64-bit value fits into 32 bits.
    if histogram.record_n(ns, count).is_err() {
        unreachable!("a histogram that grows holds every value");
    }
}

type AtRanks = [Option<u64>; PERCENTILES.len()];

fn of_values(mut values: Vec<u64>, ranks: AtRanks) -> AtRanks {
    values.sort_unstable();
    ranks.map(|rank| {
        let index = usize::try_from(rank?.checked_sub(1)?).ok()?;
        values.get(index).copied()
    })
}

/// Values at `ranks` (ascending): the greatest that the bucket holds, as HDR histograms have it.
fn of_histogram(histogram: &Histogram<u64>, ranks: AtRanks) -> AtRanks {
    let mut buckets = histogram.iter_recorded();
    let mut seen = 0u64;
    let mut value = None;
    ranks.map(|rank| {
        let rank = rank?;
        while seen < rank {
            let bucket = buckets.next()?;
            seen = seen.saturating_add(bucket.count_at_value());
            value = Some(bucket.value_iterated_to());
        }
        value
    })
}

#[cfg(test)]
mod tests;
