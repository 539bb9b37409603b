//! Metrics of a capture: the numbers of its tables.

use std::collections::BTreeMap;

use polars::prelude::*;

use crate::analyses::{Table, timeline};

/// Identity of a metric: table, row and column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// Name of the table.
    pub table: &'static str,
    /// Columns that identify the row, as `column=value`.
    pub row: String,
    /// Column. Counts per time window become rates with the suffix `_per_s`.
    pub column: String,
}

/// Values by metric: one number, or one for each time window.
pub type Measures = BTreeMap<Metric, Vec<f64>>;

/// Text columns that do not identify a row across captures.
const NO_KEYS: [&str; 2] = ["id", "marks"];

/// Suffixes of columns without measurements.
const NO_VALUES: [&str; 4] = ["_low", "_high", "_low_ns", "_high_ns"];

/// Columns of losses and of the position of a row.
const NO_METRICS: [&str; 3] = ["lost_events", "lost_share", "since_ns"];

/// Adds the numbers of a table. Of tables with scopes, only `all` and `system` count: other names belong to one recording.
pub fn add(measures: &mut Measures, table: &Table, frame: &DataFrame, window_ns: i64) -> PolarsResult<()> {
    let name = table.name;
    if *table == timeline::TABLE {
        return add_windows(measures, name, frame, window_ns);
    }
    let (keys, values): (Vec<&Column>, Vec<&Column>) =
        frame.columns().iter().partition(|column| *column.dtype() == DataType::String);
    let keys: Vec<&Column> = keys.into_iter().filter(|column| !NO_KEYS.contains(&column.name().as_str())).collect();
    let values = values.into_iter().filter(|column| is_measured(column.name()));
    let values: Vec<(&str, Column)> = values
        .map(|column| Ok((column.name().as_str(), column.cast(&DataType::Float64)?)))
        .collect::<PolarsResult<_>>()?;
    for row in 0..frame.height() {
        let of = |column: &&Column| Some((column.name().to_string(), column.str().ok()?.get(row)?.to_owned()));
        let of: Vec<(String, String)> = keys.iter().filter_map(of).collect();
        if of.iter().any(|(name, value)| name == "scope" && !["all", "system"].contains(&value.as_str())) {
            continue;
        }
        let of = of.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ");
        for (column, values) in &values {
            if let Some(value) = values.f64()?.get(row) {
                let metric = Metric { table: name, row: of.clone(), column: (*column).to_owned() };
                measures.entry(metric).or_default().push(value);
            }
        }
    }
    Ok(())
}

fn is_measured(name: &str) -> bool {
    !NO_METRICS.contains(&name) && !NO_VALUES.iter().any(|end| name.ends_with(end))
}

/// Adds the time windows except the first and the last, which the recording may cover only in part.
fn add_windows(measures: &mut Measures, name: &'static str, frame: &DataFrame, window_ns: i64) -> PolarsResult<()> {
    let inner = frame.slice(1, frame.height().saturating_sub(2));
    for column in inner.columns().iter().filter(|column| is_measured(column.name())) {
        let is_ratio = column.name().contains("_amp_");
        let is_count = !is_ratio && ["_ops", "_bytes"].iter().any(|end| column.name().ends_with(end));
        let (end, scale) = if is_count { ("_per_s", 1e9 / window_ns as f64) } else { ("", 1.0) };
        let values: Vec<f64> =
            column.cast(&DataType::Float64)?.f64()?.iter().flatten().map(|value| value * scale).collect();
        // With many gaps, consecutive values are not adjacent windows.
        if !values.is_empty() && values.len() * 10 >= inner.height() * 9 {
            let metric = Metric { table: name, row: String::new(), column: format!("{}{end}", column.name()) };
            measures.insert(metric, values);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_by_their_texts_and_windows_are_rates() {
        let frame = df!(
            "scope" => ["all", "system", "process"], "name" => [None, Some("etcd"), Some("etcd")], "id" => ["", "", "7@1"],
            "ops" => [3u64, 2, 2], "p50_low_ns" => [1u64, 1, 1], "avg_ns" => [Some(5u64), None, None], "lost_events" => [0u64, 0, 0]
        )
        .expect("columns of equal length");
        let mut measures = Measures::new();
        add(&mut measures, &crate::analyses::sync::TABLE, &frame, 0).expect("numbers");
        let found: Vec<_> =
            measures.iter().map(|(of, values)| (of.row.as_str(), of.column.as_str(), values.clone())).collect();
        let expected = [
            ("scope=all", "avg_ns", vec![5.0]),
            ("scope=all", "ops", vec![3.0]),
            ("scope=system name=etcd", "ops", vec![2.0]),
        ];
        assert_eq!(found, expected);
        let frame = df!("since_ns" => [0u64, 1, 2, 3], "block_read_ops" => [1u64, 2, 3, 4], "write_amp_bytes" => [None, Some(1.5), Some(2.5), None], "block_read_p99_ns" => [None, Some(1u64), None, None])
            .expect("columns of equal length");
        let mut measures = Measures::new();
        add(&mut measures, &timeline::TABLE, &frame, 500_000_000).expect("numbers");
        let found: Vec<_> = measures.iter().map(|(of, values)| (of.column.as_str(), values.clone())).collect();
        assert_eq!(found, [("block_read_ops_per_s", vec![4.0, 6.0]), ("write_amp_bytes", vec![1.5, 2.5])]);
    }
}
