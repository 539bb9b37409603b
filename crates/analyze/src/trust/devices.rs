//! Devices: whether rows agree with the kernel's counters.

use iostrata_capture::manifest::DeviceBook;

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
