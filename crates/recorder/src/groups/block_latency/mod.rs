//! Latency histograms of block requests by disk and operation, from issue (D2C) or from queueing (Q2C) to completion.
//!
//! As biolatency, but counted without clearing, and by operation. Requests that were issued before the programs were attached are in no bucket.

use std::collections::HashMap;
use std::mem::MaybeUninit;

use anyhow::{Context, Result, anyhow, ensure};
use iostrata_capture::TableId;
use iostrata_capture::op::Op;
use iostrata_capture::tables::block_latency::{BlockLatencyRow, BlockLatencyTable};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};

use super::readings::{Differences, Lost, ReadingGroup, Readings, Source, Span, Start, attach, select};
use super::skeleton;
use crate::bpf::{percpu, read_record};
use crate::clock;
use crate::host::devices;

skeleton!("block_latency");
use skeleton::types::{latency_key, latency_sum, request_loss};

/// The group.
pub static GROUP: ReadingGroup = ReadingGroup {
    table: TableId::BlockLatency,
    about: "Latency histograms of disks, counted in the kernel, without a row for each request.",
    start,
    filters_devices: true,
};

/// Bucket: disk, operation, and the logarithm of its lower bound in µs.
type Bucket = (i32, Op, u8);

/// Latency that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// From issue to completion.
    D2c,
    /// From queueing to completion.
    Q2c,
}

/// Running programs.
pub struct Histograms {
    /// Keep the programs attached.
    _links: Vec<Link>,
    sums: MapHandle,
    losses: MapHandle,
    /// Operations by their codes.
    ops: Vec<Option<Op>>,
}

/// Sums of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    requests: u64,
    bytes: u64,
    duration_ns: u64,
}

/// Sums since the start.
#[derive(Debug, Default)]
pub struct Counts {
    buckets: HashMap<Bucket, Sum>,
    lost: Lost,
}

fn start(with: &Start) -> Result<Box<dyn Readings>> {
    Ok(Differences::of(Histograms::start(with, Latency::D2c)?))
}

impl Histograms {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// The reason why this kernel cannot run them.
    pub fn start(with: &Start, latency: Latency) -> Result<Histograms> {
        let (programs, is_in_request) = programs(with, latency)?;
        let mut object = MaybeUninit::uninit();
        let mut open =
            skeleton::BlockLatencySkelBuilder::default().open(&mut object).context("cannot open the BPF object")?;
        select(open.open_object_mut(), &programs);
        if let Some(data) = open.maps.rodata_data.as_mut() {
            data.selects_disks = u32::from(!with.devices.is_empty());
            data.from_queueing = u32::from(latency == Latency::Q2c && !is_in_request);
            data.queued_in_request = u32::from(is_in_request);
        }
        open.maps.disks.set_max_entries(with.devices.len().max(1) as u32)?;
        let disks = if with.devices.is_empty() { devices::all().len() } else { with.devices.len() };
        open.maps.latency_sums.set_max_entries(buckets(disks))?;
        let mut skeleton = open.load().context("the kernel refuses the programs")?;
        for dev in &with.devices {
            skeleton.maps.disks.update(&dev.to_ne_bytes(), &1u32.to_ne_bytes(), MapFlags::ANY)?;
        }
        Ok(Histograms {
            sums: MapHandle::try_from(&skeleton.maps.latency_sums)?,
            losses: MapHandle::try_from(&skeleton.maps.request_losses)?,
            _links: attached(&mut skeleton, &programs)?,
            ops: with.words.ops.iter().map(|word| Op::parse(word)).collect(),
        })
    }
}

/// Returns the size of the table of buckets for a number of disks. Each takes 24 bytes per CPU.
fn buckets(disks: usize) -> u32 {
    u32::try_from(disks.saturating_mul(BUCKETS_OF_A_DISK)).unwrap_or(MOST_BUCKETS).clamp(LEAST_BUCKETS, MOST_BUCKETS)
}

/// Buckets that a disk may have: six operations in sixteen powers of two.
const BUCKETS_OF_A_DISK: usize = 96;

/// Buckets for disks that are added later.
const LEAST_BUCKETS: u32 = 1024;

/// Maximum number of buckets.
const MOST_BUCKETS: u32 = 16_384;

/// Returns the programs for this kernel, in the order in which they are attached: the begin of what a completion sees must have been seen. Also returns
/// whether the queueing time is that in the request.
fn programs(with: &Start, latency: Latency) -> Result<(Vec<&'static str>, bool)> {
    let issue = match with.kernel.tracepoint_arguments("block_rq_issue") {
        Some(1) => "block_latency_issue",
        Some(2) => "block_latency_issue_q",
        _ => return Err(anyhow!("the kernel has no tracepoint block_rq_issue")),
    };
    ensure!(
        with.kernel.tracepoint_arguments("block_rq_complete") == Some(3),
        "the kernel has no tracepoint block_rq_complete"
    );
    let mut programs = vec![issue, "block_latency_complete"];
    let is_queueing_seen = with.kernel.tracepoint_arguments("block_io_start") == Some(1);
    if latency == Latency::Q2c && is_queueing_seen {
        programs.insert(0, "block_latency_queued");
        if with.kernel.tracepoint_arguments("block_rq_merge") == Some(1) {
            programs.insert(0, "block_latency_merged");
        }
    }
    Ok((programs, latency == Latency::Q2c && !is_queueing_seen))
}

/// Attaches the programs, and tells them since when each issue is seen.
fn attached(skeleton: &mut skeleton::BlockLatencySkel, programs: &[&str]) -> Result<Vec<Link>> {
    let links = attach(skeleton.object(), programs)?;
    let data = skeleton.maps.bss_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .bss"))?;
    data.attached_ns = clock::monotonic_ns().cast_unsigned();
    Ok(links)
}

impl Source for Histograms {
    type Table = BlockLatencyTable;
    type Counts = Counts;

    fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        for key in self.sums.keys() {
            let Some(bucket) = read_record::<latency_key>(&key) else { continue };
            let op = self.ops.get(usize::from(bucket.op)).copied().flatten();
            let op = op.ok_or_else(|| anyhow!("unknown operation {} in the BPF object", bucket.op))?;
            let sum = counts.buckets.entry((bucket.dev.cast_signed(), op, bucket.slot)).or_default();
            for of_cpu in percpu::<latency_sum>(&self.sums, &key)? {
                sum.requests += of_cpu.requests;
                sum.bytes += of_cpu.bytes;
                sum.duration_ns += of_cpu.duration_ns;
            }
        }
        for loss in percpu::<request_loss>(&self.losses, &0u32.to_ne_bytes())? {
            counts.lost.table_full += loss.table_full;
            counts.lost.unseen_end += loss.unseen_issue + loss.unseen_end;
        }
        Ok(counts)
    }

    fn rows(span: Span, before: &Counts, now: &Counts) -> Vec<BlockLatencyRow> {
        let mut rows: Vec<BlockLatencyRow> = Vec::new();
        for (bucket @ (dev, op, slot), sum) in &now.buckets {
            let before = before.buckets.get(bucket).copied().unwrap_or_default();
            // A program may be between two of its additions: the rest comes with the next reading, with or without another request.
            if *sum == before {
                continue;
            }
            let (low_us, high_us) = bounds_us(*slot);
            rows.push(BlockLatencyRow {
                ts_ns: span.until_ns,
                since_ns: span.since_ns,
                dev: *dev,
                op: *op,
                low_us,
                high_us,
                requests: sum.requests.saturating_sub(before.requests).cast_signed(),
                bytes: sum.bytes.saturating_sub(before.bytes).cast_signed(),
                dur_ns: sum.duration_ns.saturating_sub(before.duration_ns).cast_signed(),
            });
        }
        rows.sort_unstable_by_key(|row| (row.dev, row.op, row.low_us));
        rows
    }

    fn lost(counts: &Counts) -> Lost {
        counts.lost
    }
}

/// Bounds of a bucket in µs, both inclusive.
pub fn bounds_us(slot: u8) -> (i64, i64) {
    let low = if slot == 0 { 0 } else { 1i64 << slot.min(62) };
    (low, (1i64 << (slot.min(61) + 1)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_and_begin_at_powers_of_two() {
        assert_eq!([0, 1, 5].map(bounds_us), [(0, 1), (2, 3), (32, 63)]);
        for slot in 0..60 {
            assert_eq!(bounds_us(slot).1 + 1, bounds_us(slot + 1).0);
        }
    }

    #[test]
    fn a_bucket_has_a_row_for_what_came_since() {
        let counts = |requests: [u64; 2]| {
            let of = |requests| Sum { requests, bytes: 512 * requests, duration_ns: 40_000 * requests };
            let buckets = [((7, Op::Read, 5), of(requests[0])), ((7, Op::Write, 5), of(requests[1]))];
            Counts { buckets: buckets.into_iter().filter(|(_, sum)| sum.requests > 0).collect(), lost: Lost::default() }
        };
        let span = Span { since_ns: 10, until_ns: 20 };
        let rows = Histograms::rows(span, &counts([3, 0]), &counts([3, 2]));
        let row = BlockLatencyRow {
            ts_ns: 20,
            since_ns: 10,
            dev: 7,
            op: Op::Write,
            low_us: 32,
            high_us: 63,
            requests: 2,
            bytes: 1024,
            dur_ns: 80_000,
        };
        assert_eq!(rows, [row]);
    }
}
