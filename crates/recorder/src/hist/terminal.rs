//! Histograms on the terminal, in 80 columns.

use std::fmt::Write;

use iostrata_capture::plain;

use super::snapshot::{Bucket, Histogram, Snapshot};
use crate::groups::block_latency::bounds_us;
use crate::live_tool::bar;

/// Length of the longest bar.
const BAR: usize = 36;

/// Draws a snapshot. `in_ms`: bounds in ms instead of µs.
pub fn draw(snapshot: &Snapshot, in_ms: bool) -> String {
    let mut text = format!("{}  {:.1} s\n", snapshot.iso_timestamp.replace('T', " "), snapshot.interval_s);
    for histogram in &snapshot.latency_histogram {
        draw_one(&mut text, histogram, in_ms);
    }
    if snapshot.latency_histogram.is_empty() {
        text.push_str("\nno requests completed\n");
    }
    let counts: Vec<String> = snapshot.inflight.iter().map(|of| format!("{} {}", of.device_name, of.count)).collect();
    let _ =
        writeln!(text, "\nin flight: {}\n", if counts.is_empty() { "unknown".to_owned() } else { counts.join(", ") });
    text
}

fn draw_one(text: &mut String, histogram: &Histogram, in_ms: bool) {
    let op = histogram.op.map(|op| format!(", op = {op}")).unwrap_or_default();
    let process = histogram.comm.as_ref().map(|comm| match histogram.pid.flatten() {
        Some(pid) => format!(", process = {} {pid}", plain::visible(comm)),
        None => format!(", process = {comm}"),
    });
    let _ = writeln!(text, "\ndisk = {}{op}{}", histogram.device_name, process.unwrap_or_default());
    let unit = if in_ms { "msecs" } else { "usecs" };
    let _ = writeln!(text, "{unit:>15}{:15}: {:<10}distribution", "", "count");
    let most = histogram.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0).cast_unsigned();
    let last = histogram.buckets.last().map_or(0, |bucket| bucket.slot);
    for slot in 0..=last {
        let bucket = histogram.buckets.iter().find(|bucket| bucket.slot == slot);
        let Bucket { count, bucket_low, bucket_high, .. } = bucket.copied().unwrap_or_else(|| empty(slot));
        let bar = bar(count.cast_unsigned(), most, BAR as u64);
        let bound = |us: i64| if in_ms { format!("{:.3}", us as f64 / 1000.0) } else { us.to_string() };
        let (low, high) = (bound(bucket_low), bound(bucket_high));
        let _ = writeln!(text, "{low:>13} -> {high:<13}: {count:<9}|{:<BAR$}|", bar);
    }
}

fn empty(slot: u32) -> Bucket {
    let (bucket_low, bucket_high) = bounds_us(u8::try_from(slot).unwrap_or(u8::MAX));
    Bucket { slot, count: 0, bucket_low, bucket_high }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::InFlight;
    use super::*;

    #[test]
    fn every_row_from_the_first_bucket_to_the_highest_used_is_drawn_in_80_columns() {
        let bucket = |slot, count| Bucket { count, ..empty(slot) };
        let histogram = Histogram {
            device_id: 7,
            device_name: "nvme0n1".to_owned(),
            op: None,
            pid: None,
            comm: None,
            total: 1_000_006,
            buckets: vec![bucket(1, 5), bucket(3, 1_000_000), bucket(30, 1)],
        };
        let snapshot = Snapshot {
            timestamp: 0.0,
            iso_timestamp: "2026-11-30T18:00:05.000250+00:00".to_owned(),
            interval_s: 5.0,
            latency_histogram: vec![histogram],
            inflight: vec![InFlight { device_id: 7, device_name: "nvme0n1".to_owned(), count: 3 }],
        };
        for in_ms in [false, true] {
            let text = draw(&snapshot, in_ms);
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert_eq!(text.lines().filter(|line| line.contains("->")).count(), 31, "{text}");
        }
        let text = draw(&snapshot, false);
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("->")).map(str::trim_end).collect();
        assert_eq!(rows[0], "            0 -> 1            : 0        |                                    |");
        assert_eq!(rows[3], "            8 -> 15           : 1000000  |************************************|");
        assert!(text.ends_with("\nin flight: nvme0n1 3\n\n"), "{text}");
        assert!(draw(&snapshot, true).contains("        0.008 -> 0.015        : 1000000  |*"));
    }
}
