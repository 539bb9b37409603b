//! Filters of recordings: selected I/O, excluded I/O, and the effect on totals.

use iostrata_capture::ledger::Amounts;
use iostrata_capture::manifest::{FilteredDisk, Manifest, Unmapped};
use iostrata_capture::op::Layer;

use crate::entity::device_number;

/// Returns a note on the filter; none without a filter.
pub fn line(manifest: &Manifest) -> Option<String> {
    let words = manifest.filters.words()?;
    let mut parts = vec![format!("filter: {words}")];
    if manifest.is_filter_idle() {
        parts.push("no row matches it".to_owned());
    }
    if manifest.filters.by_owner() && manifest.layers.get(&Layer::Block).is_some_and(|layer| layer.captured) {
        parts.push(unowned(manifest));
    }
    parts.extend(manifest.filtered.iter().flat_map(|filtered| filtered.unmapped.iter().map(unmapped)));
    Some(parts.join("; "))
}

fn unowned(manifest: &Manifest) -> String {
    let disks = manifest.filtered.as_ref().map_or(&[][..], |filtered| &filtered.disks);
    if manifest.lacks_unowned() {
        return "journal, metadata, flushes and other unattributed I/O were not recorded, so device totals are empty"
            .to_owned();
    }
    if disks.is_empty() {
        return "no used disk is known".to_owned();
    }
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    let mut text = format!("unattributed I/O is that of {}", names.join(", "));
    text.extend(disks.iter().filter_map(left_out));
    text
}

/// Formats excluded I/O: `; excluded on sda: 4096 bytes read and 8192 written by other processes`.
fn left_out(disk: &FilteredDisk) -> Option<String> {
    let of = |amounts: &Amounts, whose: &str| {
        let Amounts { read_bytes, write_bytes, read_ops, write_ops } = amounts;
        (read_ops.saturating_add(*write_ops) > 0)
            .then(|| format!("{read_bytes} bytes read and {write_bytes} written {whose}"))
    };
    let parts = [of(&disk.others, "by other processes"), of(&disk.before_use, "unattributed before its first use")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("; excluded on {}: {}", disk.name, parts.join(", ")))
}

fn unmapped(of: &Unmapped) -> String {
    let fs_type = of.fs_type.as_deref().unwrap_or("unknown type");
    let rows = if of.rows == 1 { "row" } else { "rows" };
    format!("excluded: {} {rows} on file system {} ({fs_type}), its disk is not known", of.rows, device_number(of.dev))
}

/// Whether numbers are wrong because of the filter.
pub fn is_bad(manifest: &Manifest) -> bool {
    let unmapped = manifest.filtered.as_ref().is_some_and(|filtered| !filtered.unmapped.is_empty());
    manifest.is_filter_idle() || manifest.lacks_unowned() || unmapped
}
