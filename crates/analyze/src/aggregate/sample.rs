//! The distribution of one set of durations.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

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

    /// What it is called in `marks`.
    pub fn mark(&self) -> &'static str {
        self.column.trim_end_matches("_ns")
    }

    /// The nearest rank, `ceil(q * n)`, counted from 1, where the values are worth `support` of equal weight; `None` where that is
    /// too few to support the percentile.
    pub fn rank(&self, support: u128, n: u64) -> Option<u64> {
        (support >= u128::from(self.needs())).then(|| u64::try_from(self.rank_of(u128::from(n))).unwrap_or(u64::MAX))
    }

    fn rank_of(&self, n: u128) -> u128 {
        (n * u128::from(self.of_10_000)).div_ceil(10_000)
    }

    /// The lowest and the greatest rank among `n` values that the percentile may have when `missing` more belong to them: if
    /// those are all less, and if all are greater. `None` where it may be one of the missing themselves. That is so of the
    /// greatest as soon as more than 1 - q of all are missing, which for no q of 0.5 or more is later than for the lowest.
    ///
    /// When only some of the missing belong to them the ranks lie within these: with each more, `ceil(q * n)` grows by one or
    /// not at all, and `ceil(q * n) - missing` stays or falls.
    fn ranks_with(&self, n: u64, missing: u64) -> [Option<u64>; 2] {
        let rank = self.rank_of(u128::from(n) + u128::from(missing));
        let lowest = rank.checked_sub(u128::from(missing)).filter(|rank| *rank > 0);
        let greatest = Some(rank).filter(|rank| *rank <= u128::from(n));
        [lowest, greatest].map(|rank| rank.and_then(|rank| u64::try_from(rank).ok()))
    }
}

/// A percentile of what was recorded, and what it may be of all that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantile {
    /// Of the recorded values, in nanoseconds.
    pub ns: u64,
    /// If all that is missing were less; `None` where no recorded value is a bound.
    pub low_ns: Option<u64>,
    /// If all that is missing were greater; `None` where no recorded value is a bound.
    pub high_ns: Option<u64>,
}

impl Quantile {
    /// Whether what is missing may have moved it by more than a thousandth, which is how precise a percentile is.
    pub fn may_have_moved(&self) -> bool {
        let beyond = |bound: u64| u128::from(bound.abs_diff(self.ns)) * 1_000 > u128::from(self.ns);
        [self.low_ns, self.high_ns].iter().any(|bound| bound.is_none_or(beyond))
    }
}

/// Values that are gathered before they go into the histogram: one after the other they find its counts in the CPU's cache, while
/// rows alternate between many histograms, which it has no room for.
const GATHERED: usize = 1_024;

/// Durations in nanoseconds. Count, sum, least and greatest are exact; the values between them as [`Precision`] says.
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
    /// Values that stand for themselves alone and are in none of the above yet.
    gathered: Vec<u64>,
}

/// The form depends on the number of values alone, never on the order in which they came or were merged.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Values {
    /// With how many each stands for.
    Few(Vec<(u64, u64)>),
    Histogram(#[serde(with = "buckets")] Box<Histogram<u64>>),
}

/// What is reported of a sample, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Values that were recorded.
    pub recorded: u64,
    /// Values that these stand for.
    pub count: u64,
    /// Operations whose duration is not known.
    pub untimed: u64,
    /// The average, rounded.
    pub avg_ns: Option<u64>,
    /// The least value.
    pub min_ns: Option<u64>,
    /// Values at [`PERCENTILES`]; none where there are too few values to support it.
    pub percentiles: [Option<Quantile>; PERCENTILES.len()],
    /// The greatest value.
    pub max_ns: Option<u64>,
}

impl Sample {
    /// No values.
    pub fn empty(precision: Precision) -> Sample {
        let (limit, values) = (precision.limit(), Values::Few(Vec::new()));
        let (min, max, gathered) = (u64::MAX, 0, Vec::new());
        Sample { limit, recorded: 0, count: 0, squares: 0, untimed: 0, sum: 0, min, max, values, gathered }
    }

    /// How many values it stands for.
    pub fn count(&self) -> u64 {
        self.count.saturating_add(self.gathered.len() as u64)
    }

    /// Whether nothing is known of it.
    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0 && self.untimed == 0
    }

    /// Its values, where they are no more than so many and stand for one each, and it is nothing else; and how many are kept of it as they are.
    pub(super) fn plain(&self, most: usize) -> Option<(Vec<u64>, usize)> {
        let Values::Few(few) = &self.values else { return None };
        let is_plain = self.untimed == 0 && few.iter().all(|(_, weight)| *weight == 1);
        let values = few.iter().map(|(ns, _)| *ns).chain(self.gathered.iter().copied());
        (is_plain && few.len() + self.gathered.len() <= most).then(|| (values.collect(), self.limit))
    }

    /// No values, of which so many are to be kept as they are.
    pub(super) fn limited(limit: usize) -> Sample {
        let precision = if limit == usize::MAX { Precision::Exact } else { Precision::Histogram { above: limit } };
        Sample::empty(precision)
    }

    /// Their sum.
    pub fn sum(&self) -> u128 {
        self.gathered.iter().fold(self.sum, |sum, ns| sum.saturating_add(u128::from(*ns)))
    }

    /// Adds an operation whose duration is not known, or that stands for `weight` of these.
    pub fn update_untimed(&mut self, weight: u64) {
        self.untimed = self.untimed.saturating_add(weight);
    }

    /// Adds one value, which stands for `weight` of them.
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

    /// Takes what was gathered into the rest.
    fn settle(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        self.add(&gathered, 1);
        gathered.clear();
        self.gathered = gathered;
    }

    /// Adds values that stand for `weight` each.
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
                // It grows by itself; of the same number of digits both have the same buckets.
                if histogram.add(&*more).is_err() {
                    unreachable!("a histogram that grows holds every value");
                }
                Values::Histogram(histogram)
            }
        };
        self.promote();
    }

    /// What the values come to, when `lost` more may belong to them. Those whose duration is not known do.
    pub fn finish(mut self, lost: u64) -> Distribution {
        self.settle();
        let some = |value: u64| (self.count > 0).then_some(value);
        let missing = self.untimed.saturating_add(lost);
        let ranks = PERCENTILES.map(|p| p.rank(self.support(), self.count));
        let [lowest, greatest] = [0, 1].map(|end| PERCENTILES.map(|p| p.ranks_with(self.count, missing)[end]));
        let values = self.values.sorted();
        let at = values.at(ranks);
        // Where nothing is missing they are the same, and buckets are many.
        let [low, high] = [lowest, greatest].map(|ranks| if missing == 0 { at } else { values.at(ranks) });
        let percentile = |index: usize| {
            let bucket: Bucket = at[index]?;
            // A bucket of the histogram may reach beyond the least and the greatest value in it.
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

    /// As many values of equal weight would say as much (Kish's effective sample size).
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

/// A histogram in a file: its buckets that have anything, each by its greatest value.
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
    // It grows by itself, and the index of the greatest 64-bit value fits into 32 bits.
    if histogram.record_n(ns, count).is_err() {
        unreachable!("a histogram that grows holds every value");
    }
}

type AtRanks<T> = [Option<T>; PERCENTILES.len()];

/// What is known of a value: the least and the greatest that it can be.
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

    /// The values at `ranks` (ascending), of values that are sorted.
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

/// Of values in ascending order, with how many there are of each.
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
