//! Compact distribution: each time window has one.

mod packed;

use serde::{Deserialize, Serialize};

use super::sample::Percentile;
use packed::{Packed, up};

/// Number of values that are collected before they are sorted into the counts.
const GATHERED: usize = 1_024;

/// Values with the number of occurrences, rounded up to two significant digits. The contents depend only on the values, never on the order
/// of arrival or merging.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sparse {
    /// Rounded values, ascending, each with its count.
    counts: Packed,
    count: u64,
    squares: u128,
    max: u64,
    /// Collected values with their counts, not rounded and in no order.
    gathered: Vec<(u64, u64)>,
}

impl Sparse {
    /// Adds a value with a weight.
    #[inline]
    pub fn add(&mut self, value: u64, weight: u64) {
        self.count = self.count.saturating_add(weight);
        self.squares = self.squares.saturating_add(u128::from(weight) * u128::from(weight));
        self.max = self.max.max(value);
        self.gathered.push((value, weight));
        if self.gathered.len() >= GATHERED {
            self.settle();
        }
    }

    /// Merges the collected values into the counts, and frees their memory.
    pub fn settle(&mut self) {
        let mut all = std::mem::take(&mut self.gathered);
        if all.is_empty() {
            return;
        }
        all.iter_mut().for_each(|(value, _)| *value = up(*value));
        all.extend(self.counts.pairs());
        self.counts = merged(all);
    }

    /// Adds the values of `other`. Both must be settled.
    pub fn combine(&mut self, mut other: Sparse) {
        self.count = self.count.saturating_add(other.count);
        self.squares = self.squares.saturating_add(other.squares);
        self.max = self.max.max(other.max);
        self.gathered.append(&mut other.gathered);
        if !other.counts.is_empty() {
            self.counts = merged(self.counts.pairs().chain(other.counts.pairs()).collect());
        }
    }

    /// Returns the maximum; `None` without values.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Returns the value at a percentile; `None` if there are too few values to support it. The distribution must be settled.
    pub fn at(&self, percentile: &Percentile) -> Option<u64> {
        let support = u128::from(self.count).saturating_mul(u128::from(self.count)).checked_div(self.squares)?;
        let rank = percentile.rank(support, self.count)?;
        let mut seen = 0u64;
        let reached = self.counts.pairs().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        // A rounded value may exceed the maximum.
        reached.map(|(value, _)| value.min(self.max))
    }
}

/// Sorts values, and merges equal ones.
fn merged(mut values: Vec<(u64, u64)>) -> Packed {
    values.sort_unstable();
    values.dedup_by(|(value, count), (kept, sum)| {
        let is_same = value == kept;
        *sum = if is_same { sum.saturating_add(*count) } else { *sum };
        is_same
    });
    Packed::of(&values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::sample::PERCENTILES;
    use proptest::prelude::*;

    fn of(values: &[(u64, u64)]) -> Sparse {
        let mut sparse = Sparse::default();
        values.iter().for_each(|(value, weight)| sparse.add(*value, *weight));
        sparse.settle();
        sparse
    }

    fn told(sparse: &Sparse) -> (Option<u64>, Vec<Option<u64>>) {
        (sparse.max(), PERCENTILES.iter().map(|percentile| sparse.at(percentile)).collect())
    }

    proptest! {
        #[test]
        fn percentiles_are_at_most_a_hundredth_above_the_value_of_their_rank(
            mut values in prop::collection::vec((0u32..64, any::<u64>()).prop_map(|(b, v)| v >> b), 1..3_000),
        ) {
            let sparse = of(&values.iter().map(|value| (*value, 1)).collect::<Vec<_>>());
            values.sort_unstable();
            prop_assert_eq!(sparse.max(), values.last().copied());
            for percentile in &PERCENTILES {
                let n = values.len() as u64;
                let Some(found) = sparse.at(percentile) else {
                    prop_assert!(n < percentile.needs());
                    continue;
                };
                let exact = values[((n * percentile.of_10_000).div_ceil(10_000) - 1) as usize];
                prop_assert!(exact <= found && u128::from(found - exact) * 100 <= u128::from(exact), "{exact} {found}");
            }
        }

        #[test]
        fn any_partition_tells_the_same(
            tagged in prop::collection::vec(((0u64..5_000, 1u64..9), 0..3usize), 0..200),
        ) {
            let all: Vec<(u64, u64)> = tagged.iter().map(|(value, _)| *value).collect();
            let part = |tag: usize| of(&tagged.iter().filter(|(_, t)| *t == tag).map(|(v, _)| *v).collect::<Vec<_>>());
            let mut sum = part(2);
            sum.combine(part(0));
            sum.combine(part(1));
            prop_assert_eq!(told(&sum), told(&of(&all)));
        }
    }
}
