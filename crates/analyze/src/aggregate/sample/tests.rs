use super::*;
use proptest::prelude::*;

const FEW: Precision = Precision::Histogram { above: 8 };

fn sample(precision: Precision, values: &[u64]) -> Sample {
    let mut sample = Sample::empty(precision);
    values.iter().for_each(|ns| sample.update(*ns, 1));
    sample
}

/// Returns the percentiles when nothing is missing.
fn percentiles_ns(sample: Sample) -> [Option<u64>; PERCENTILES.len()] {
    sample.finish(0).percentiles.map(|percentile| percentile.map(|of| of.ns))
}

/// Returns values with equally likely magnitudes, as latencies are.
fn magnitudes() -> impl Strategy<Value = u64> {
    (0u32..64, any::<u64>()).prop_map(|(bits, value)| value >> bits)
}

fn durations() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(magnitudes(), 0..200)
}

/// Returns a value of any magnitude, or one of a few, so that not every loss moves a percentile.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![magnitudes(), Just(5_000), Just(70_000), Just(900_000)]
}

#[test]
fn nothing_has_no_numbers() {
    let nothing = Sample::empty(Precision::DEFAULT).finish(0);
    assert_eq!((nothing.count, nothing.avg_ns, nothing.min_ns, nothing.max_ns), (0, None, None, None));
    assert_eq!(nothing.percentiles, [None; 6]);
}

#[test]
fn percentiles_are_the_nearest_rank() {
    let values: Vec<u64> = (1..=1000).rev().collect();
    let expected = [Some(500), Some(900), Some(950), Some(990), Some(999), None];
    assert_eq!(percentiles_ns(sample(Precision::Exact, &values)), expected);
    assert_eq!(percentiles_ns(sample(Precision::DEFAULT, &values)), expected);
    assert_eq!(percentiles_ns(sample(Precision::Exact, &[3, 1, 2]))[0], Some(2));
}

#[test]
fn a_percentile_that_the_sample_cannot_support_is_empty() {
    let needs: Vec<u64> = PERCENTILES.iter().map(Percentile::needs).collect();
    assert_eq!(needs, [2, 10, 20, 100, 1_000, 10_000]);
    for (index, n) in needs.into_iter().enumerate() {
        for precision in [Precision::Exact, FEW] {
            let enough = percentiles_ns(sample(precision, &vec![5; n as usize]));
            let short = percentiles_ns(sample(precision, &vec![5; n as usize - 1]));
            assert_eq!(enough[index], Some(5), "{n}");
            assert_eq!(short[index], None, "{n}");
        }
    }
}

#[test]
fn average_least_and_greatest_are_exact_in_a_histogram() {
    let values: Vec<u64> = (0..1_000).map(|i| 1_000_000_007 * i).chain([i64::MAX as u64]).collect();
    let (exact, histogram) =
        (sample(Precision::Exact, &values).finish(0), sample(Precision::DEFAULT, &values).finish(0));
    assert_eq!((exact.count, exact.avg_ns), (histogram.count, histogram.avg_ns));
    assert_eq!((exact.min_ns, exact.max_ns), (histogram.min_ns, histogram.max_ns));
}

#[test]
fn a_histogram_agrees_with_all_values_within_a_thousandth() {
    // Log-normal-like: a product of uniform values over nine magnitudes, from a fixed linear congruential generator.
    let mut state = 42u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let values: Vec<u64> =
        (0..50_000).map(|_| 1 + (next() % 1_000) * (next() % 1_000) * (1 + next() % 1_000)).collect();
    let exact = percentiles_ns(sample(Precision::Exact, &values));
    let histogram = percentiles_ns(sample(Precision::DEFAULT, &values));
    let mut compared = 0;
    for (exact, histogram) in exact.into_iter().zip(histogram) {
        let (exact, histogram) = (exact.expect("supported"), histogram.expect("supported"));
        let off = histogram.abs_diff(exact) as f64 / exact as f64;
        assert!(off <= 0.001, "{exact} {histogram} {off}");
        compared += 1;
    }
    assert_eq!(compared, PERCENTILES.len());
}

#[test]
fn a_percentile_has_an_upper_bound_until_more_than_its_tail_is_missing() {
    let values: Vec<u64> = (1..=990).collect();
    let p99 = |lost| sample(Precision::Exact, &values).finish(lost).percentiles[3].expect("supported");
    assert_eq!(p99(0), Quantile { ns: 981, low_ns: Some(981), high_ns: Some(981) });
    assert_eq!(p99(1), Quantile { ns: 981, low_ns: Some(981), high_ns: Some(982) });
    // One hundredth of all: the maximum recorded value.
    assert_eq!(p99(10), Quantile { ns: 981, low_ns: Some(980), high_ns: Some(990) });
    assert_eq!(p99(11), Quantile { ns: 981, low_ns: Some(980), high_ns: None });
    // So many that it may be below all.
    assert_eq!(p99(98_010), Quantile { ns: 981, low_ns: None, high_ns: None });
    assert_eq!(p99(u64::MAX), Quantile { ns: 981, low_ns: None, high_ns: None });
}

#[test]
fn a_percentile_may_have_moved_where_a_bound_is_more_than_a_thousandth_away() {
    let moved = |low_ns, high_ns| Quantile { ns: 10_000, low_ns, high_ns }.may_have_moved();
    assert!(!moved(Some(9_990), Some(10_010)));
    assert!(moved(Some(9_989), Some(10_000)) && moved(Some(10_000), Some(10_011)));
    assert!(moved(None, Some(10_000)) && moved(Some(10_000), None));
    assert!(Quantile { ns: 0, low_ns: Some(0), high_ns: Some(1) }.may_have_moved());
}

#[test]
fn what_has_no_duration_is_missing_too() {
    let mut untimed = sample(FEW, &(1..=990).collect::<Vec<u64>>());
    (0..7).for_each(|_| untimed.update_untimed(1));
    let mut merged = Sample::empty(FEW);
    merged.combine(untimed);
    let [lost, both] = [sample(FEW, &(1..=990).collect::<Vec<u64>>()).finish(11), merged.finish(4)];
    assert_eq!((both.count, both.untimed, both.percentiles), (990, 7, lost.percentiles));
}

#[test]
fn a_sample_that_was_recorded_in_part_supports_what_the_recorded_values_do() {
    let mut few = Sample::empty(Precision::Exact);
    (1..=99).for_each(|ns| few.update(ns, 256));
    let of = few.finish(0);
    assert_eq!((of.recorded, of.count, of.avg_ns), (99, 99 * 256, Some(50)));
    assert_eq!(of.percentiles.map(|p| p.map(|p| p.ns)), [Some(50), Some(90), Some(95), None, None, None]);
}

#[test]
fn one_value_that_stands_for_most_of_all_supports_next_to_nothing() {
    let mut mixed = Sample::empty(Precision::Exact);
    (1..=99).for_each(|ns| mixed.update(ns, 1));
    mixed.update(1_000, 256);
    // 355² / (99 + 256²).
    assert_eq!((mixed.support(), mixed.finish(0).percentiles), (1, [None; 6]));
}

proptest! {
    #[test]
    fn a_value_with_a_weight_is_as_many_values(
        values in prop::collection::vec((value(), 1..5u64), 0..60),
        exact in any::<bool>(),
        lost in 0..20u64,
    ) {
        let precision = if exact { Precision::Exact } else { FEW };
        let (mut weighed, mut repeated) = (Sample::empty(precision), Sample::empty(precision));
        for (ns, weight) in values {
            weighed.update(ns, weight);
            (0..weight).for_each(|_| repeated.update(ns, 1));
        }
        let (weighed, repeated) = (weighed.finish(lost), repeated.finish(lost));
        prop_assert_eq!((weighed.count, weighed.avg_ns), (repeated.count, repeated.avg_ns));
        prop_assert_eq!((weighed.min_ns, weighed.max_ns), (repeated.min_ns, repeated.max_ns));
        for (weighed, repeated) in weighed.percentiles.iter().zip(repeated.percentiles).filter(|(weighed, _)| weighed.is_some()) {
            // One may be a histogram while the other is not.
            let (one, other) = (weighed.expect("filtered above").ns, repeated.expect("of more values").ns);
            prop_assert!(one.abs_diff(other) <= one / 1000, "{one} {other}");
        }
    }

    #[test]
    fn the_true_percentile_lies_within_the_bounds_whatever_was_lost(
        values in prop::collection::vec((value(), any::<bool>()), 1..300),
        heavy in any::<bool>(),
        not_of_this_row in 0..4u64,
        exact in any::<bool>(),
    ) {
        let mut all: Vec<u64> = values.iter().map(|(ns, _)| *ns).collect();
        all.sort_unstable();
        // Half of them, or the greatest of those: the worst loss.
        let median = all[all.len() / 2];
        let is_lost = |(ns, chosen): &&(u64, bool)| *chosen && (heavy || *ns > median);
        let kept: Vec<u64> = values.iter().filter(|value| !is_lost(value)).map(|(ns, _)| *ns).collect();
        let lost = (all.len() - kept.len()) as u64 + not_of_this_row;
        let precision = if exact { Precision::Exact } else { FEW };
        let known = sample(precision, &kept).finish(lost);
        for (percentile, quantile) in PERCENTILES.iter().zip(known.percentiles) {
            let Some(quantile) = quantile else { continue };
            let truth = all[percentile.rank_of(all.len() as u128) as usize - 1];
            prop_assert!(quantile.low_ns.is_none_or(|low| low <= truth), "{} {quantile:?} {truth}", percentile.name);
            prop_assert!(quantile.high_ns.is_none_or(|high| truth <= high), "{} {quantile:?} {truth}", percentile.name);
            let share = u128::from(lost) * 10_000;
            let tail = (kept.len() as u128 + u128::from(lost)) * u128::from(10_000 - percentile.of_10_000);
            prop_assert_eq!(quantile.high_ns.is_none(), share > tail, "more than 1 - q of all");
            prop_assert!(lost > 0 || !quantile.may_have_moved());
            let off = u128::from(truth.abs_diff(quantile.ns)) * 1_000;
            prop_assert!(quantile.may_have_moved() || off <= u128::from(quantile.ns), "{quantile:?} {truth}");
        }
    }

    #[test]
    fn any_partition_in_any_order_is_the_same_distribution(
        values in durations(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        backwards in any::<bool>(),
        lost in 0..50u64,
    ) {
        let mut pieces = vec![Sample::empty(FEW); cuts.len() + 1];
        for (index, ns) in values.iter().enumerate() {
            let piece = cuts.iter().filter(|cut| cut.index(values.len()) <= index).count();
            pieces[piece].update(*ns, 1);
        }
        if backwards {
            pieces.reverse();
        }
        let mut merged = Sample::empty(FEW);
        pieces.into_iter().for_each(|piece| merged.combine(piece));
        prop_assert_eq!(merged.finish(lost), sample(FEW, &values).finish(lost));
    }

    #[test]
    fn a_histogram_is_never_below_the_exact_value_nor_a_thousandth_above(values in durations()) {
        let exact = percentiles_ns(sample(Precision::Exact, &values));
        let histogram = percentiles_ns(sample(FEW, &values));
        for (exact, histogram) in exact.into_iter().zip(histogram) {
            prop_assert_eq!(exact.is_some(), histogram.is_some());
            if let (Some(exact), Some(histogram)) = (exact, histogram) {
                prop_assert!(exact <= histogram && (histogram - exact) as f64 <= exact as f64 * 0.001);
            }
        }
    }
}
