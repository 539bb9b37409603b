use super::*;
use proptest::prelude::*;

const FEW: Precision = Precision::Histogram { above: 8 };

fn sample(precision: Precision, values: &[u64]) -> Sample {
    let mut sample = Sample::empty(precision);
    values.iter().for_each(|ns| sample.update(*ns));
    sample
}

fn durations() -> impl Strategy<Value = Vec<u64>> {
    // Every magnitude as likely as any other, as latencies are.
    let value = (0u32..64, any::<u64>()).prop_map(|(bits, value)| value >> bits);
    prop::collection::vec(value, 0..200)
}

#[test]
fn nothing_has_no_numbers() {
    let nothing = Sample::empty(Precision::DEFAULT).finish();
    assert_eq!((nothing.count, nothing.avg_ns, nothing.min_ns, nothing.max_ns), (0, None, None, None));
    assert_eq!(nothing.percentiles_ns, [None; 6]);
}

#[test]
fn percentiles_are_the_nearest_rank() {
    let values: Vec<u64> = (1..=1000).rev().collect();
    let expected = [Some(500), Some(900), Some(950), Some(990), Some(999), None];
    assert_eq!(sample(Precision::Exact, &values).finish().percentiles_ns, expected);
    assert_eq!(sample(Precision::DEFAULT, &values).finish().percentiles_ns, expected);
    assert_eq!(sample(Precision::Exact, &[3, 1, 2]).finish().percentiles_ns[0], Some(2));
}

#[test]
fn a_percentile_that_the_sample_cannot_support_is_empty() {
    let needs: Vec<u64> = PERCENTILES.iter().map(Percentile::needs).collect();
    assert_eq!(needs, [2, 10, 20, 100, 1_000, 10_000]);
    for (index, n) in needs.into_iter().enumerate() {
        for precision in [Precision::Exact, FEW] {
            let enough = sample(precision, &vec![5; n as usize]).finish();
            let short = sample(precision, &vec![5; n as usize - 1]).finish();
            assert_eq!(enough.percentiles_ns[index], Some(5), "{n}");
            assert_eq!(short.percentiles_ns[index], None, "{n}");
        }
    }
}

#[test]
fn average_least_and_greatest_are_exact_in_a_histogram() {
    let values: Vec<u64> = (0..1_000).map(|i| 1_000_000_007 * i).chain([i64::MAX as u64]).collect();
    let (exact, histogram) = (sample(Precision::Exact, &values).finish(), sample(Precision::DEFAULT, &values).finish());
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
    let exact = sample(Precision::Exact, &values).finish();
    let histogram = sample(Precision::DEFAULT, &values).finish();
    let mut compared = 0;
    for (exact, histogram) in exact.percentiles_ns.into_iter().zip(histogram.percentiles_ns) {
        let (exact, histogram) = (exact.expect("supported"), histogram.expect("supported"));
        let off = histogram.abs_diff(exact) as f64 / exact as f64;
        assert!(off <= 0.001, "{exact} {histogram} {off}");
        compared += 1;
    }
    assert_eq!(compared, PERCENTILES.len());
}

proptest! {
    #[test]
    fn any_partition_in_any_order_is_the_same_distribution(
        values in durations(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        backwards in any::<bool>(),
    ) {
        let mut pieces = vec![Sample::empty(FEW); cuts.len() + 1];
        for (index, ns) in values.iter().enumerate() {
            let piece = cuts.iter().filter(|cut| cut.index(values.len()) <= index).count();
            pieces[piece].update(*ns);
        }
        if backwards {
            pieces.reverse();
        }
        let mut merged = Sample::empty(FEW);
        pieces.into_iter().for_each(|piece| merged.combine(piece));
        prop_assert_eq!(merged.finish(), sample(FEW, &values).finish());
    }

    #[test]
    fn a_histogram_is_never_below_the_exact_value_nor_a_thousandth_above(values in durations()) {
        let exact = sample(Precision::Exact, &values).finish();
        let histogram = sample(FEW, &values).finish();
        for (exact, histogram) in exact.percentiles_ns.into_iter().zip(histogram.percentiles_ns) {
            prop_assert_eq!(exact.is_some(), histogram.is_some());
            if let (Some(exact), Some(histogram)) = (exact, histogram) {
                prop_assert!(exact <= histogram && (histogram - exact) as f64 <= exact as f64 * 0.001);
            }
        }
    }
}
