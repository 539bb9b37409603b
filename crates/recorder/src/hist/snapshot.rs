//! Snapshots: the histograms of one interval, and the requests in flight at its end.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use iostrata_capture::manifest::Device;
use iostrata_capture::op::Op;
use serde::Serialize;

use super::By;
use super::source::{Bucketed, Process};
use crate::groups::block_latency::bounds_us;
use crate::host::devices;

/// Histograms of an interval, as a line of the output file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// End of the interval, in seconds since the Unix epoch.
    pub timestamp: f64,
    /// The same as text, in UTC.
    pub iso_timestamp: String,
    /// Length of the interval in seconds.
    pub interval_s: f64,
    /// Histograms of disks with requests, by device number.
    pub latency_histogram: Vec<Histogram>,
    /// Requests in flight of all disks, by device number.
    pub inflight: Vec<InFlight>,
}

/// Histogram of a disk, or of one operation on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Histogram {
    /// Device number, `major << 20 | minor`.
    pub device_id: i32,
    /// Name of the disk; its device number if it is gone.
    pub device_name: String,
    /// Operation, with `--by op`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<&'static str>,
    /// Process id, with `--by process`; null for requests without a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<Option<u32>>,
    /// Command name of the process, with `--by process`; the class of the data in parentheses without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Number of requests.
    pub total: i64,
    /// Buckets with requests, ascending.
    pub buckets: Vec<Bucket>,
}

/// Requests with a latency between two powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Logarithm of the lower bound.
    pub slot: u32,
    /// Number of requests.
    pub count: i64,
    /// Lower bound in µs, inclusive.
    pub bucket_low: i64,
    /// Upper bound in µs, inclusive.
    pub bucket_high: i64,
}

/// Requests in flight of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Device number.
    pub device_id: i32,
    /// Name of the disk.
    pub device_name: String,
    /// Number of requests that the kernel counts as in flight (`/sys/block/DEV/inflight`).
    pub count: u64,
}

impl Snapshot {
    /// Creates the snapshot of an interval from its rows. `disks` are those whose requests are counted.
    pub fn of(
        (until, interval_s): (DateTime<Utc>, f64),
        rows: &[Bucketed],
        disks: &[Device],
        by: Option<By>,
    ) -> Snapshot {
        let inflight = disks.iter().filter_map(|disk| {
            let count = devices::in_flight(&disk.name)?;
            Some(InFlight { device_id: disk.dev, device_name: disk.name.clone(), count })
        });
        let mut inflight: Vec<InFlight> = inflight.collect();
        inflight.sort_by_key(|of| of.device_id);
        Snapshot {
            timestamp: until.timestamp_micros() as f64 / 1e6,
            iso_timestamp: until.to_rfc3339_opts(SecondsFormat::Micros, false),
            interval_s,
            latency_histogram: histograms(rows, disks, by),
            inflight,
        }
    }
}

/// What the requests of a histogram have in common: disk, operation and process, as far as they are divided by these.
type Divided = (i32, Option<Op>, Option<Process>);

fn histograms(rows: &[Bucketed], disks: &[Device], by: Option<By>) -> Vec<Histogram> {
    let mut sums: BTreeMap<Divided, BTreeMap<u32, i64>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.requests > 0) {
        let op = (by == Some(By::Op)).then_some(row.op);
        *sums.entry((row.dev, op, row.process.clone())).or_default().entry(row.slot).or_default() += row.requests;
    }
    let bucket = |(slot, count): (u32, i64)| {
        let (bucket_low, bucket_high) = bounds_us(u8::try_from(slot).unwrap_or(u8::MAX));
        Bucket { slot, count, bucket_low, bucket_high }
    };
    let histogram = |((dev, op, process), buckets): (Divided, BTreeMap<u32, i64>)| Histogram {
        device_id: dev,
        device_name: devices::name_in(disks, dev),
        op: op.map(Op::name),
        pid: process.as_ref().map(|process| process.pid),
        comm: process.map(|process| process.comm),
        total: buckets.values().sum(),
        buckets: buckets.into_iter().map(bucket).collect(),
    };
    sums.into_iter().map(histogram).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(dev: i32, op: Op, slot: u32, requests: i64) -> Bucketed {
        Bucketed { dev, op, process: None, slot, requests }
    }

    const ROWS: fn() -> Vec<Bucketed> =
        || vec![row(7, Op::Read, 5, 3), row(7, Op::Write, 5, 2), row(7, Op::Write, 0, 1), row(8, Op::Read, 10, 0)];

    #[test]
    fn buckets_of_operations_are_summed_unless_they_are_asked_for() {
        let disk = Device { dev: 7, name: "sda".to_owned(), ..Device::default() };
        let all = histograms(&ROWS(), std::slice::from_ref(&disk), None);
        let bucket = |slot, count, bucket_low, bucket_high| Bucket { slot, count, bucket_low, bucket_high };
        let expected = Histogram {
            device_id: 7,
            device_name: "sda".to_owned(),
            op: None,
            pid: None,
            comm: None,
            total: 6,
            buckets: vec![bucket(0, 1, 0, 1), bucket(5, 5, 32, 63)],
        };
        assert_eq!(all, [expected]);
        let by_op = histograms(&ROWS(), &[disk], Some(By::Op));
        assert_eq!(
            by_op.iter().map(|of| (of.op, of.total)).collect::<Vec<_>>(),
            [(Some("read"), 3), (Some("write"), 3)]
        );
    }

    #[test]
    fn processes_have_histograms_of_their_own() {
        let of = |pid: Option<u32>, comm: &str, requests| Bucketed {
            process: Some(Process { pid, comm: comm.to_owned() }),
            ..row(7, Op::Write, 3, requests)
        };
        let rows = [of(Some(9), "etcd", 2), of(None, "(journal)", 1), of(Some(9), "etcd", 4)];
        let lines = histograms(&rows, &[], Some(By::Process));
        let lines: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).expect("JSON")).collect();
        assert!(lines[0].contains("\"pid\":null,\"comm\":\"(journal)\",\"total\":1,"), "{lines:?}");
        assert!(lines[1].contains("\"pid\":9,\"comm\":\"etcd\",\"total\":6,"), "{lines:?}");
    }

    #[test]
    fn a_line_has_these_keys_in_this_order() {
        let until = DateTime::from_timestamp_micros(1_700_000_000_250_000).expect("a time");
        let snapshot = Snapshot::of((until, 5.0), &ROWS(), &[], None);
        let line = serde_json::to_string(&snapshot).expect("JSON");
        assert_eq!(
            line,
            "{\"timestamp\":1700000000.25,\"iso_timestamp\":\"2023-11-14T22:13:20.250000+00:00\",\"interval_s\":5.0,\
             \"latency_histogram\":[{\"device_id\":7,\"device_name\":\"0:7\",\"total\":6,\"buckets\":[\
             {\"slot\":0,\"count\":1,\"bucket_low\":0,\"bucket_high\":1},{\"slot\":5,\"count\":5,\"bucket_low\":32,\"bucket_high\":63}]}],\
             \"inflight\":[]}"
        );
    }
}
