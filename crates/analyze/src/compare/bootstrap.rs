//! Confidence intervals of differences, by resampling of measured values (Efron, 1979).
//!
//! Repeats are drawn one by one. Time windows of one recording are not independent, so runs of adjacent windows are drawn, wrapping from the end to
//! the begin (the circular block bootstrap: Politis and Romano, 1992). Quantiles of few values are too near to their middle. They are taken further
//! out by as much as Student's distribution is wider than the normal one, and by √(n / (n - 1)) (the expanded percentile interval: Hesterberg, The
//! American Statistician 69(4), 2015).

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Number of draws.
const DRAWS: usize = 10_000;

/// Fixed seed: the same measurements give the same intervals.
const SEED: u64 = 0x10_57_2a_7a;

/// Values of one side.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Measured values.
    pub values: Vec<f64>,
    /// Block length: number of consecutive values that depend on each other; 1 for repeats.
    pub block: usize,
}

impl Measured {
    /// Creates it from repeats, which are independent.
    pub fn repeats(values: Vec<f64>) -> Measured {
        Measured { values, block: 1 }
    }

    /// Creates it from consecutive values in time.
    pub fn times(values: Vec<f64>) -> Measured {
        let block = block(&values);
        Measured { values, block }
    }

    /// Returns the mean.
    pub fn mean(&self) -> f64 {
        mean(self.values.iter().copied(), self.values.len())
    }

    /// Number of independent values.
    fn independent(&self) -> f64 {
        self.values.len() as f64 / self.block as f64
    }

    /// Draws as many values again and returns their mean.
    fn draw(&self, random: &mut impl Rng) -> f64 {
        let n = self.values.len();
        let begins = (0..n.div_ceil(self.block)).map(|_| random.random_range(0..n)).collect::<Vec<_>>();
        let drawn = begins.iter().flat_map(|begin| (0..self.block).map(move |step| self.values[(begin + step) % n]));
        mean(drawn.take(n), n)
    }
}

/// Returns the block length from the correlation of neighbours: Andrews' bandwidth for a first-order autoregressive process (Econometrica 59(3),
/// 1991).
fn block(values: &[f64]) -> usize {
    let n = values.len();
    let mean = mean(values.iter().copied(), n);
    let product =
        |lag: usize| values.iter().zip(&values[lag.min(n)..]).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let alike = (product(1) / product(0)).clamp(-0.97, 0.97);
    let alpha = 4.0 * alike * alike / (1.0 - alike * alike).powi(2);
    let block = 1.1447 * (alpha * n as f64).cbrt();
    // Equal values have no correlation.
    if block.is_nan() { 1 } else { (block.round() as usize).clamp(1, n.max(1)) }
}

fn mean(values: impl Iterator<Item = f64>, n: usize) -> f64 {
    values.sum::<f64>() / n as f64
}

/// Confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// Intervals of the means of two sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intervals {
    /// Difference of the second mean from the first.
    pub difference: Interval,
    /// The difference as a share of the first mean, if that mean can only be above zero.
    pub change: Option<Interval>,
}

/// Returns the intervals at `confidence`, such as 0.95; `None` if a side has too few values: fewer than four at 95 %.
pub fn intervals(before: &Measured, after: &Measured, confidence: f64) -> Option<Intervals> {
    let independent = before.independent().min(after.independent());
    let tail = tail(independent.max(2.0), confidence);
    // The draws give no quantiles beyond their ends.
    if independent < 2.0 || tail * (DRAWS as f64) < 1.0 {
        return None;
    }
    let mut random = Pcg64::seed_from_u64(SEED);
    let draws: Vec<(f64, f64)> = (0..DRAWS).map(|_| (before.draw(&mut random), after.draw(&mut random))).collect();
    let difference = interval(draws.iter().map(|(before, after)| after - before), tail);
    let is_positive = draws.iter().all(|(before, _)| *before > 0.0);
    let change = is_positive.then(|| interval(draws.iter().map(|(before, after)| after / before - 1.0), tail));
    Some(Intervals { difference, change })
}

/// Returns the share of draws beyond each end, for `n` independent values on the side that has fewer.
fn tail(n: f64, confidence: f64) -> f64 {
    let beyond = (1.0 - confidence) / 2.0;
    let quantile = |freedom: f64| Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(1.0 - beyond));
    match (quantile(n - 1.0), Normal::new(0.0, 1.0)) {
        (Some(quantile), Ok(normal)) => normal.cdf(-quantile * (n / (n - 1.0)).sqrt()),
        _ => beyond,
    }
}

fn interval(draws: impl Iterator<Item = f64>, tail: f64) -> Interval {
    let mut draws: Vec<f64> = draws.collect();
    draws.sort_unstable_by(f64::total_cmp);
    let beyond = ((draws.len() as f64 * tail) as usize).min(draws.len() / 2);
    Interval { low: draws[beyond], high: draws[draws.len() - 1 - beyond] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns values around `mean` by the method of Box and Muller.
    fn normal(random: &mut impl Rng, n: usize, mean: f64) -> Vec<f64> {
        let one = |random: &mut _| {
            let (u, v): (f64, f64) = (random_of(random), random_of(random));
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        (0..n).map(|_| mean + one(random)).collect()
    }

    fn random_of(random: &mut impl Rng) -> f64 {
        random.random_range(0.0..1.0)
    }

    #[test]
    fn as_often_as_promised_the_true_difference_is_within() {
        let mut random = Pcg64::seed_from_u64(1);
        for n in [5, 10, 30] {
            let within = (0..300)
                .filter(|_| {
                    let before = Measured::repeats(normal(&mut random, n, 100.0));
                    let after = Measured::repeats(normal(&mut random, n, 103.0));
                    let found = intervals(&before, &after, 0.95).expect("enough values");
                    let Interval { low, high } = found.difference;
                    (low..=high).contains(&3.0) && found.change.is_some_and(|change| change.low > 0.0)
                })
                .count();
            // 95 % of 300, minus three standard deviations of that count.
            assert!((273..=300).contains(&within), "{n}: {within}");
        }
    }

    #[test]
    fn values_that_depend_on_those_before_them_tell_less() {
        let mut random = Pcg64::seed_from_u64(2);
        let mut within = |alike: f64, make: fn(Vec<f64>) -> Measured| {
            let mut depending = || {
                let mut last = 0.0;
                let steps = normal(&mut random, 150, 0.0).into_iter().map(|step| {
                    last = alike * last + step;
                    last
                });
                // The first values are not yet stationary.
                steps.skip(30).collect::<Vec<f64>>()
            };
            let covers = |before: Vec<f64>, after: Vec<f64>| {
                let found = intervals(&make(before), &make(after), 0.95).map(|found| found.difference);
                found.is_some_and(|Interval { low, high }| (low..=high).contains(&0.0))
            };
            (0..100).filter(|_| covers(depending(), depending())).count()
        };
        // With the correlation ignored, every other interval misses the true value.
        assert!(within(0.9, Measured::repeats) < 60);
        let found = [0.9, 0.5, 0.0].map(|alike| within(alike, Measured::times));
        assert!(found[0] > 80 && found[1] > 86 && found[2] > 88, "{found:?}");
    }

    #[test]
    fn of_one_value_there_is_no_interval_and_of_equal_ones_it_is_a_point() {
        let same = Measured::repeats(vec![2.0; 4]);
        assert_eq!(intervals(&same, &Measured::repeats(vec![2.0]), 0.95), None);
        assert_eq!(intervals(&same, &Measured::repeats(vec![2.0; 3]), 0.95), None);
        let point = |at| Interval { low: at, high: at };
        assert_eq!(
            intervals(&same, &Measured::repeats(vec![3.0; 5]), 0.95),
            Some(Intervals { difference: point(1.0), change: Some(point(0.5)) })
        );
        let zero = Measured::repeats(vec![0.0; 4]);
        assert_eq!(intervals(&zero, &same, 0.95).expect("enough values").change, None);
    }
}
