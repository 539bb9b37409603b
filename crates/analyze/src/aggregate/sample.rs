//! Distribution of one set of durations.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Precision;
use super::count::average;

/// Reported percentile: its column and its quantile.
#[derive(Debug, Clone, Copy)]
pub struct Percentile {
    /// Name of the column.
    pub column: &'static str,
    /// Name in prose.
    pub name: &'static str,
    /// Quantile in ten-thousandths: an integer, because `ceil(0.99 * 100.0)` need not be 99.
    pub of_10_000: u64,
}

/// Reported percentiles, ascending.
pub const PERCENTILES: [Percentile; 6] = [
    Percentile { column: "p50_ns", name: "50th", of_10_000: 5_000 },
    Percentile { column: "p90_ns", name: "90th", of_10_000: 9_000 },
    Percentile { column: "p95_ns", name: "95th", of_10_000: 9_500 },
    Percentile { column: "p99_ns", name: "99th", of_10_000: 9_900 },
    Percentile { column: "p999_ns", name: "99.9th", of_10_000: 9_990 },
    Percentile { column: "p9999_ns", name: "99.99th", of_10_000: 9_999 },
];

impl Percentile {
    /// Returns the number of values from which on at least one lies beyond the percentile: 1 / (1 - q).
    pub const fn needs(&self) -> u64 {
        10_000u64.div_ceil(10_000 - self.of_10_000)
    }

    /// Returns its name in `marks`.
    pub fn mark(&self) -> &'static str {
        self.column.trim_end_matches("_ns")
    }

    /// Returns the nearest rank, `ceil(q * n)`, counted from 1, for values that are worth `support` values of equal weight; `None` if these are
    /// too few to support the percentile.
    pub fn rank(&self, support: u128, n: u64) -> Option<u64> {
        (support >= u128::from(self.needs())).then(|| u64::try_from(self.rank_of(u128::from(n))).unwrap_or(u64::MAX))
    }

    fn rank_of(&self, n: u128) -> u128 {
        (n * u128::from(self.of_10_000)).div_ceil(10_000)
    }

    /// Returns the lowest and the highest rank among `n` values that the percentile may have when `missing` more belong to them: if all of the
    /// missing values are less, and if all are greater. `None` if the percentile may be one of the missing values. For the highest rank that is
    /// the case as soon as more than 1 - q of all are missing, which for no q of 0.5 or more is later than for the lowest.
    ///
    /// When only some of the missing values belong to them the ranks lie within these: with each more, `ceil(q * n)` grows by one or not at
    /// all, and `ceil(q * n) - missing` stays or falls.
    fn ranks_with(&self, n: u64, missing: u64) -> [Option<u64>; 2] {
        let rank = self.rank_of(u128::from(n) + u128::from(missing));
        let lowest = rank.checked_sub(u128::from(missing)).filter(|rank| *rank > 0);
        let greatest = Some(rank).filter(|rank| *rank <= u128::from(n));
        [lowest, greatest].map(|rank| rank.and_then(|rank| u64::try_from(rank).ok()))
    }
}

/// Percentile of the recorded values, with bounds for the percentile of all values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantile {
    /// Percentile of the recorded values, in nanoseconds.
    pub ns: u64,
    /// Lower bound: the percentile if all missing values were less; `None` if no recorded value is a bound.
    pub low_ns: Option<u64>,
    /// Upper bound: the percentile if all missing values were greater; `None` if no recorded value is a bound.
    pub high_ns: Option<u64>,
}

impl Quantile {
    /// Whether missing values may have moved it by more than a thousandth, the precision of a percentile.
    pub fn may_have_moved(&self) -> bool {
        let beyond = |bound: u64| u128::from(bound.abs_diff(self.ns)) * 1_000 > u128::from(self.ns);
        [self.low_ns, self.high_ns].iter().any(|bound| bound.is_none_or(beyond))
    }
}

/// Number of values that are collected before they are added to the histogram. One after the other they find its counts in the CPU's cache;
/// rows alternate between many histograms, which do not fit into it.
const GATHERED: usize = 1_024;

/// Durations in nanoseconds. Count, sum, minimum and maximum are exact; [`Precision`] determines the values between them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    limit: usize,
    recorded: u64,
    count: u64,
    squares: u128,
    untimed: u64,
    sum: u128,
    min: u64,
    max: u64,
    values: Values,
    /// Values of weight 1 that are in none of the above yet.
    gathered: Vec<u64>,
}

/// Representation of values. It depends only on their number, never on the order of arrival or merging.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Values {
    /// Values with their weights.
    Few(Vec<(u64, u64)>),
    Histogram(#[serde(with = "buckets")] Box<Histogram<u64>>),
}

/// Reported results of a sample, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Number of recorded values.
    pub recorded: u64,
    /// Number of values that these represent.
    pub count: u64,
    /// Number of operations of unknown duration.
    pub untimed: u64,
    /// Mean, rounded.
    pub avg_ns: Option<u64>,
    /// Minimum.
    pub min_ns: Option<u64>,
    /// Values at [`PERCENTILES`]; `None` if there are too few values to support it.
    pub percentiles: [Option<Quantile>; PERCENTILES.len()],
    /// Maximum.
    pub max_ns: Option<u64>,
}

impl Sample {
    /// Creates a sample without values.
    pub fn empty(precision: Precision) -> Sample {
        let (limit, values) = (precision.limit(), Values::Few(Vec::new()));
        let (min, max, gathered) = (u64::MAX, 0, Vec::new());
        Sample { limit, recorded: 0, count: 0, squares: 0, untimed: 0, sum: 0, min, max, values, gathered }
    }

    /// Returns the number of values that it represents.
    pub fn count(&self) -> u64 {
        self.count.saturating_add(self.gathered.len() as u64)
    }

    /// Whether it has neither values nor operations of unknown duration.
    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0 && self.untimed == 0
    }

    /// Returns its values and the maximum number that it keeps exactly, if it has at most `most` values, of weight 1 each, and nothing else.
    pub(super) fn plain(&self, most: usize) -> Option<(Vec<u64>, usize)> {
        let Values::Few(few) = &self.values else { return None };
        let is_plain = self.untimed == 0 && few.iter().all(|(_, weight)| *weight == 1);
        let values = few.iter().map(|(ns, _)| *ns).chain(self.gathered.iter().copied());
        (is_plain && few.len() + self.gathered.len() <= most).then(|| (values.collect(), self.limit))
    }

    /// Creates a sample without values that keeps up to `limit` of them exactly.
    pub(super) fn limited(limit: usize) -> Sample {
        let precision = if limit == usize::MAX { Precision::Exact } else { Precision::Histogram { above: limit } };
        Sample::empty(precision)
    }

    /// Returns the sum of its values.
    pub fn sum(&self) -> u128 {
        self.gathered.iter().fold(self.sum, |sum, ns| sum.saturating_add(u128::from(*ns)))
    }

    /// Adds operations of unknown duration, `weight` of them.
    pub fn update_untimed(&mut self, weight: u64) {
        self.untimed = self.untimed.saturating_add(weight);
    }

    /// Adds one value with a weight.
    #[inline]
    pub fn update(&mut self, ns: u64, weight: u64) {
        if weight != 1 {
            return self.add(&[ns], weight);
        }
        self.gathered.push(ns);
        if self.gathered.len() >= GATHERED {
            self.settle();
        }
    }

    /// Adds the collected values to the other fields.
    fn settle(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        self.add(&gathered, 1);
        gathered.clear();
        self.gathered = gathered;
    }

    /// Adds values with the weight `weight` each.
    fn add(&mut self, values: &[u64], weight: u64) {
        let recorded = values.len() as u64;
        let square = u128::from(weight) * u128::from(weight);
        self.recorded = self.recorded.saturating_add(recorded);
        self.count = self.count.saturating_add(recorded.saturating_mul(weight));
        self.squares = self.squares.saturating_add(square.saturating_mul(u128::from(recorded)));
        for ns in values {
            self.sum = self.sum.saturating_add(u128::from(*ns) * u128::from(weight));
            self.min = self.min.min(*ns);
            self.max = self.max.max(*ns);
        }
        match &mut self.values {
            Values::Few(few) => few.extend(values.iter().map(|ns| (*ns, weight))),
            Values::Histogram(histogram) => values.iter().for_each(|ns| record(histogram, *ns, weight)),
        }
        self.promote();
    }

    /// Adds the values of `other`.
    pub fn combine(&mut self, mut other: Sample) {
        self.settle();
        other.settle();
        self.recorded = self.recorded.saturating_add(other.recorded);
        self.count = self.count.saturating_add(other.count);
        self.squares = self.squares.saturating_add(other.squares);
        self.untimed = self.untimed.saturating_add(other.untimed);
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
                values.into_iter().for_each(|(ns, weight)| record(&mut histogram, ns, weight));
                Values::Histogram(histogram)
            }
            (Values::Histogram(mut histogram), Values::Histogram(more)) => {
                // It resizes automatically. With the same number of digits both have the same buckets.
                if histogram.add(&*more).is_err() {
                    unreachable!("an auto-resizing histogram holds every value");
                }
                Values::Histogram(histogram)
            }
        };
        self.promote();
    }

    /// Returns the results, when `lost` more values may belong to them. Operations of unknown duration do belong to them.
    pub fn finish(mut self, lost: u64) -> Distribution {
        self.settle();
        let some = |value: u64| (self.count > 0).then_some(value);
        let missing = self.untimed.saturating_add(lost);
        let ranks = PERCENTILES.map(|p| p.rank(self.support(), self.count));
        let [lowest, greatest] = [0, 1].map(|end| PERCENTILES.map(|p| p.ranks_with(self.count, missing)[end]));
        let values = self.values.sorted();
        let at = values.at(ranks);
        // Without missing values the bounds are equal to the percentiles, and a pass over many buckets is saved.
        let [low, high] = [lowest, greatest].map(|ranks| if missing == 0 { at } else { values.at(ranks) });
        let percentile = |index: usize| {
            let bucket: Bucket = at[index]?;
            // A bucket of the histogram may extend beyond the minimum and the maximum.
            Some(Quantile {
                ns: bucket.greatest.min(self.max),
                low_ns: low[index].map(|bucket| bucket.least.max(self.min)),
                high_ns: high[index].map(|bucket| bucket.greatest.min(self.max)),
            })
        };
        Distribution {
            recorded: self.recorded,
            count: self.count,
            untimed: self.untimed,
            avg_ns: average(self.sum, self.count),
            min_ns: some(self.min),
            percentiles: std::array::from_fn(percentile),
            max_ns: some(self.max),
        }
    }

    /// Returns the number of values of equal weight that carry the same information (Kish's effective sample size).
    fn support(&self) -> u128 {
        let count = u128::from(self.count);
        count.saturating_mul(count).checked_div(self.squares).unwrap_or(0)
    }

    fn promote(&mut self) {
        let Values::Few(values) = &self.values else { return };
        if values.len() <= self.limit {
            return;
        }
        self.values = Values::Histogram(histogram(values));
    }
}

fn histogram(values: &[(u64, u64)]) -> Box<Histogram<u64>> {
    let mut histogram = match Histogram::new(3) {
        Ok(histogram) => Box::new(histogram),
        Err(_) => unreachable!("three significant digits are within the five that are possible"),
    };
    values.iter().for_each(|(ns, weight)| record(&mut histogram, *ns, *weight));
    histogram
}

/// Serialized form of a histogram: its non-empty buckets, each by its maximum value.
mod buckets {
    use hdrhistogram::Histogram;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(histogram: &Histogram<u64>, to: S) -> Result<S::Ok, S::Error> {
        let buckets = histogram.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()));
        buckets.collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Box<Histogram<u64>>, D::Error> {
        Vec::deserialize(from).map(|buckets| super::histogram(&buckets))
    }
}

fn record(histogram: &mut Histogram<u64>, ns: u64, count: u64) {
    // It resizes automatically, and the index of the maximum 64-bit value fits into 32 bits.
    if histogram.record_n(ns, count).is_err() {
        unreachable!("an auto-resizing histogram holds every value");
    }
}

type AtRanks<T> = [Option<T>; PERCENTILES.len()];

/// Minimum and maximum that a value can be.
#[derive(Clone, Copy)]
struct Bucket {
    least: u64,
    greatest: u64,
}

impl Values {
    fn sorted(mut self) -> Values {
        if let Values::Few(values) = &mut self {
            values.sort_unstable();
        }
        self
    }

    /// Returns the values at `ranks` (ascending); the values are sorted.
    fn at(&self, ranks: AtRanks<u64>) -> AtRanks<Bucket> {
        match self {
            Values::Few(values) => {
                at_ranks(values.iter().map(|(ns, weight)| (Bucket { least: *ns, greatest: *ns }, *weight)), ranks)
            }
            Values::Histogram(histogram) => {
                let buckets = histogram.iter_recorded().map(|bucket| {
                    let greatest = bucket.value_iterated_to();
                    (Bucket { least: histogram.lowest_equivalent(greatest), greatest }, bucket.count_at_value())
                });
                at_ranks(buckets, ranks)
            }
        }
    }
}

/// Returns the values at `ranks`, from values in ascending order with their counts.
fn at_ranks(mut values: impl Iterator<Item = (Bucket, u64)>, ranks: AtRanks<u64>) -> AtRanks<Bucket> {
    let mut seen = 0u64;
    let mut value = None;
    ranks.map(|rank| {
        let rank = rank?;
        while seen < rank {
            let (bucket, count) = values.next()?;
            seen = seen.saturating_add(count);
            value = Some(bucket);
        }
        value
    })
}

#[cfg(test)]
mod tests;
