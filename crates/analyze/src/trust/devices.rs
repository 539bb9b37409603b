//! Rows of devices, checked against the kernel's device counters.

use iostrata_capture::manifest::{Counting, DeviceCheck, Manifest};
use iostrata_capture::table::Table;
use iostrata_capture::tables::BlockTable;

/// Returns a line for each device with rows that differ from the kernel's counters.
pub fn unbalanced(books: &[DeviceCheck]) -> impl Iterator<Item = String> {
    books.iter().filter(|book| !book.balanced).map(|book| {
        let DeviceCheck { kernel, edges, rows, own, .. } = book;
        let sums = [
            ("reads", kernel.read_ops, edges.read_ops, rows.read_ops.saturating_add(own.read_ops)),
            ("bytes read", kernel.read_bytes, edges.read_bytes, rows.read_bytes.saturating_add(own.read_bytes)),
            ("writes", kernel.write_ops, edges.write_ops, rows.write_ops.saturating_add(own.write_ops)),
            ("bytes written", kernel.write_bytes, edges.write_bytes, rows.write_bytes.saturating_add(own.write_bytes)),
        ];
        // A count within the interval does not differ.
        let differ = sums
            .iter()
            .filter(|(_, counted, edge, recorded)| recorded < counted || *recorded > counted.saturating_add(*edge));
        let differ: Vec<String> = differ
            .map(|(what, counted, edge, recorded)| {
                format!("{} {what} but {recorded} recorded", interval(*counted, *edge))
            })
            .collect();
        let what = if differ.is_empty() { "other values than recorded".to_owned() } else { differ.join(", ") };
        format!("device {}: inconsistent: the kernel counted {what}", book.device)
    })
}

/// Formats the interval of a counter that moved by `edge` while completions may not have been recorded: `3 to 5`.
fn interval(least: u64, edge: u64) -> String {
    if edge == 0 { least.to_string() } else { format!("{least} to {}", least.saturating_add(edge)) }
}

/// Returns remarks on consistent devices, one per line: no kernel counters, or a wide interval.
pub fn remarks(books: &[DeviceCheck]) -> Vec<String> {
    let mut lines = Vec::new();
    for book in books.iter().filter(|book| book.balanced) {
        let DeviceCheck { device, kernel, edges, uncounted, unseen_flushes, .. } = book;
        let (ops, bytes) = (
            uncounted.read_ops.saturating_add(uncounted.write_ops),
            uncounted.read_bytes.saturating_add(uncounted.write_bytes),
        );
        match book.counting {
            Counting::Always => {}
            Counting::Never if uncounted.is_zero() => {}
            Counting::Never => lines.push(format!(
                "device {device} has no counters (queue/iostats is 0): {ops} requests of {bytes} bytes are not checked"
            )),
            Counting::Partly => lines.push(format!(
                "queue/iostats of device {device} was changed during the recording: {ops} requests of {bytes} bytes are not checked"
            )),
        }
        if *unseen_flushes > 0 {
            let plural = if *unseen_flushes == 1 { "" } else { "es" };
            lines.push(format!(
                "{unseen_flushes} flush{plural} of device {device} without a row: no completion was recorded; all bytes match"
            ));
        }
        if book.hands_bios_on && !(kernel.is_zero() && book.rows.is_zero()) {
            lines.push(format!(
                "device {device} makes no requests: its rows are bios, with all bytes that its driver counted ({} read, {} written)",
                kernel.read_bytes, kernel.write_bytes
            ));
        } else if book.edge_share() > DeviceCheck::NARROW {
            lines.push(format!(
                "device {device} was busy when the recording began or ended: the kernel counted {} bytes read and {} written, \
                 an interval of more than {} %",
                interval(kernel.read_bytes, edges.read_bytes),
                interval(kernel.write_bytes, edges.write_bytes),
                DeviceCheck::NARROW * 100.0
            ));
        }
    }
    lines
}

/// Whether the kernel counted I/O that is neither in the rows nor covered by the requests counted as lost. Losses cannot explain
/// more rows than the kernel counted.
pub fn is_more_missing(manifest: &Manifest) -> bool {
    let (events, lost) = manifest.books.lost_of(BlockTable::NAME);
    let without_bytes = events.saturating_sub(lost.read_ops.saturating_add(lost.write_ops));
    let explained = [lost.read_ops, lost.read_bytes, lost.write_ops, lost.write_bytes, without_bytes, without_bytes];
    let mut missing = [0u64; 6];
    for book in manifest.device_books.iter().filter(|book| !book.balanced) {
        let DeviceCheck { kernel, edges, rows, own, .. } = book;
        // Some kernels do not count flushes.
        let flushes =
            kernel.flush_ops.map(|counted| (counted, edges.flush_ops.unwrap_or(0), rows.flush_ops.unwrap_or(0)));
        let counts = [
            (kernel.read_ops, edges.read_ops, rows.read_ops.saturating_add(own.read_ops)),
            (kernel.read_bytes, edges.read_bytes, rows.read_bytes.saturating_add(own.read_bytes)),
            (kernel.write_ops, edges.write_ops, rows.write_ops.saturating_add(own.write_ops)),
            (kernel.write_bytes, edges.write_bytes, rows.write_bytes.saturating_add(own.write_bytes)),
            (kernel.discard_ops, edges.discard_ops, rows.discard_ops),
            flushes.unwrap_or_default(),
        ];
        // For bios only bytes are comparable, and rows may have more of them than the driver counts.
        let comparable = |at: usize| !book.hands_bios_on || matches!(at, 1 | 3);
        let counts: [(u64, u64, u64); 6] =
            std::array::from_fn(|at| if comparable(at) { counts[at] } else { Default::default() });
        let too_many = !book.hands_bios_on
            && counts.iter().any(|(counted, edge, recorded)| *recorded > counted.saturating_add(*edge));
        let too_few = counts.map(|(counted, _, recorded)| counted.saturating_sub(recorded));
        if too_many || too_few == [0; 6] {
            return true;
        }
        missing.iter_mut().zip(too_few).for_each(|(sum, less)| *sum = sum.saturating_add(less));
    }
    missing.iter().zip(explained).any(|(missing, explained)| *missing > explained)
}
