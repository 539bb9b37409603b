//! Devices: whether rows agree with the kernel's counters.

use iostrata_capture::manifest::{DeviceBook, Manifest};
use iostrata_capture::table::Table;
use iostrata_capture::tables::BlockTable;

/// A line for each device whose rows and the kernel's counters differ.
pub fn unbalanced(books: &[DeviceBook]) -> impl Iterator<Item = String> {
    books.iter().filter(|book| !book.balanced).map(|book| {
        let DeviceBook { kernel, rows, own, .. } = book;
        let sums = [
            ("reads", kernel.read_ops, rows.read_ops.saturating_add(own.read_ops)),
            ("bytes read", kernel.read_bytes, rows.read_bytes.saturating_add(own.read_bytes)),
            ("writes", kernel.write_ops, rows.write_ops.saturating_add(own.write_ops)),
            ("bytes written", kernel.write_bytes, rows.write_bytes.saturating_add(own.write_bytes)),
        ];
        let differ = sums.iter().filter(|(_, counted, recorded)| counted != recorded);
        let differ: Vec<String> =
            differ.map(|(what, counted, recorded)| format!("{counted} {what} but {recorded} recorded")).collect();
        let what = if differ.is_empty() { "other counters than are recorded".to_owned() } else { differ.join(", ") };
        format!("the books of device {} do not balance: the kernel counted {what}", book.device)
    })
}

/// Whether the kernel counted something that neither the rows have nor the requests that are counted as lost can have been. Where
/// there are more rows than the kernel counted, nothing is explained.
pub fn is_more_missing(manifest: &Manifest) -> bool {
    let (events, lost) = manifest.books.lost_of(BlockTable::NAME);
    let without_bytes = events.saturating_sub(lost.read_ops.saturating_add(lost.write_ops));
    let explained = [lost.read_ops, lost.read_bytes, lost.write_ops, lost.write_bytes, without_bytes, without_bytes];
    let mut missing = [0u64; 6];
    for DeviceBook { kernel, edges, rows, own, .. } in manifest.device_books.iter().filter(|book| !book.balanced) {
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
        let too_many = counts.iter().any(|(counted, edge, recorded)| *recorded > counted.saturating_add(*edge));
        let too_few = counts.map(|(counted, _, recorded)| counted.saturating_sub(recorded));
        if too_many || too_few == [0; 6] {
            return true;
        }
        missing.iter_mut().zip(too_few).for_each(|(sum, less)| *sum = sum.saturating_add(less));
    }
    missing.iter().zip(explained).any(|(missing, explained)| *missing > explained)
}
