//! Devices: whether rows agree with the kernel's counters.

use iostrata_capture::manifest::{Counting, DeviceBook, Manifest};
use iostrata_capture::table::Table;
use iostrata_capture::tables::BlockTable;

/// A line for each device whose rows and the kernel's counters differ.
pub fn unbalanced(books: &[DeviceBook]) -> impl Iterator<Item = String> {
    books.iter().filter(|book| !book.balanced).map(|book| {
        let DeviceBook { kernel, edges, rows, own, .. } = book;
        let sums = [
            ("reads", kernel.read_ops, edges.read_ops, rows.read_ops.saturating_add(own.read_ops)),
            ("bytes read", kernel.read_bytes, edges.read_bytes, rows.read_bytes.saturating_add(own.read_bytes)),
            ("writes", kernel.write_ops, edges.write_ops, rows.write_ops.saturating_add(own.write_ops)),
            ("bytes written", kernel.write_bytes, edges.write_bytes, rows.write_bytes.saturating_add(own.write_bytes)),
        ];
        // What is within the interval does not differ.
        let differ = sums
            .iter()
            .filter(|(_, counted, edge, recorded)| recorded < counted || *recorded > counted.saturating_add(*edge));
        let differ: Vec<String> = differ
            .map(|(what, counted, edge, recorded)| {
                format!("{} {what} but {recorded} recorded", interval(*counted, *edge))
            })
            .collect();
        let what = if differ.is_empty() { "other counters than are recorded".to_owned() } else { differ.join(", ") };
        format!("the books of device {} do not balance: the kernel counted {what}", book.device)
    })
}

/// `3 to 5`: what counters allow that moved by `edge` while it was not sure that ends were seen.
fn interval(least: u64, edge: u64) -> String {
    if edge == 0 { least.to_string() } else { format!("{least} to {}", least.saturating_add(edge)) }
}

/// What there is to know of devices whose books balance, a line each: where the kernel's counters are no witness, or leave room.
pub fn remarks(books: &[DeviceBook]) -> Vec<String> {
    let mut lines = Vec::new();
    for book in books.iter().filter(|book| book.balanced) {
        let DeviceBook { device, kernel, edges, uncounted, unseen_flushes, .. } = book;
        let (ops, bytes) = (
            uncounted.read_ops.saturating_add(uncounted.write_ops),
            uncounted.read_bytes.saturating_add(uncounted.write_bytes),
        );
        match book.counting {
            Counting::Always => {}
            Counting::Never if uncounted.is_zero() => {}
            Counting::Never => lines.push(format!(
                "device {device} keeps no count (queue/iostats is 0): {ops} requests of {bytes} bytes have no witness"
            )),
            Counting::Partly => lines.push(format!(
                "queue/iostats of device {device} was changed while it was recorded: {ops} requests of {bytes} bytes have no witness"
            )),
        }
        if *unseen_flushes > 0 {
            let plural = if *unseen_flushes == 1 { "" } else { "es" };
            lines.push(format!(
                "{unseen_flushes} flush{plural} of device {device} without a row: nobody saw the end; all bytes agree"
            ));
        }
        if book.hands_bios_on && !(kernel.is_zero() && book.rows.is_zero()) {
            lines.push(format!(
                "device {device} makes no requests: its rows are bios, and have all bytes that its driver counted ({} read, {} written)",
                kernel.read_bytes, kernel.write_bytes
            ));
        } else if book.edge_share() > DeviceBook::NARROW {
            lines.push(format!(
                "device {device} was busy when the recording began or ended: the kernel counted {} bytes read and {} written, \
                 which leaves room for more than {} %",
                interval(kernel.read_bytes, edges.read_bytes),
                interval(kernel.write_bytes, edges.write_bytes),
                DeviceBook::NARROW * 100.0
            ));
        }
    }
    lines
}

/// Whether the kernel counted something that neither the rows have nor the requests that are counted as lost can have been. Where
/// there are more rows than the kernel counted, nothing is explained.
pub fn is_more_missing(manifest: &Manifest) -> bool {
    let (events, lost) = manifest.books.lost_of(BlockTable::NAME);
    let without_bytes = events.saturating_sub(lost.read_ops.saturating_add(lost.write_ops));
    let explained = [lost.read_ops, lost.read_bytes, lost.write_ops, lost.write_bytes, without_bytes, without_bytes];
    let mut missing = [0u64; 6];
    for book in manifest.device_books.iter().filter(|book| !book.balanced) {
        let DeviceBook { kernel, edges, rows, own, .. } = book;
        // A kernel that does not count flushes is no witness of them.
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
        // Of bios only bytes are comparable, and there may be more of them than the driver counts.
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
