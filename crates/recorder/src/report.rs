//! Summary printed at the end of a recording: what was captured, and the event accounting.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use indicatif::HumanBytes;
use iostrata_capture::ledger::{Account, Amounts, Incomplete};
use iostrata_capture::manifest::{Counting, DeviceCheck, DeviceCounters, Manifest};

use crate::host::dev_text;
use crate::record::Outcome;
use crate::sink::Size;
use crate::sink::live::Shown;

/// Lines for the terminal. `out` is the directory of the capture, if one was written, and the size of its parts.
pub fn text(manifest: &Manifest, out: Option<(&Path, Size)>, live: Option<&Shown>) -> String {
    let mut text = String::new();
    if let Some((out, Size { parts, bytes })) = out {
        let _ = writeln!(text, "capture   {} ({parts} parts, {})", out.display(), HumanBytes(bytes));
    }
    if let Some(live) = live {
        let _ = writeln!(text, "live      {}", live_line(live, "rows "));
    }
    if let Some(reason) = &manifest.stop_reason {
        let _ = writeln!(text, "stopped   {reason}");
    }
    text.extend(filter_lines(manifest));
    for (layer, state) in manifest.layers.iter().filter(|(_, state)| !state.captured) {
        let _ = writeln!(text, "layer     {layer} not captured: {}", state.how);
    }
    for (layer, state) in manifest.layers.iter().filter(|(_, state)| !state.without.is_empty()) {
        let _ = writeln!(text, "layer     {layer} without {}: not supported by this kernel", state.without.join(", "));
    }
    for (group, state) in manifest.groups.iter().filter(|(_, state)| !state.captured) {
        let _ = writeln!(text, "group     {group} not captured: {}", state.how);
    }
    for (group, state) in manifest.groups.iter().filter(|(_, state)| !state.without.is_empty()) {
        let _ = writeln!(text, "group     {group}: the filter does not apply: {}", state.without.join(", "));
    }
    if let Some(sampling) = manifest.sampling.filter(|sampling| sampling.greatest_weight > 1) {
        let time = humantime::format_duration(Duration::from_secs(sampling.sampled_ms / 1000));
        let _ = writeln!(
            text,
            "sampled   for {time}, down to one in {}, to stay within --cpu-limit {}: each row has a weight, the number of events that \
             it represents, and rows are not checked against kernel counters",
            sampling.greatest_weight, sampling.cpu_limit_percent
        );
    }
    if let Some(least) = manifest.filters.min_latency() {
        let Incomplete { short_requests, short_io, .. } = manifest.books.incomplete;
        let (read, written) = (HumanBytes(short_io.read_bytes), HumanBytes(short_io.write_bytes));
        let _ = writeln!(
            text,
            "requests  {short_requests} took less than {least} and have no row: {read} read, {written} written"
        );
    }
    for account in manifest.books.by_class() {
        let _ = writeln!(
            text,
            "events    {}",
            account_line(&account, if out.is_some() { "recorded" } else { "processed" })
        );
    }
    for skipped in &manifest.books.skipped {
        let _ = writeln!(
            text,
            "events    program {} skipped {} times: those events are unknown",
            skipped.program, skipped.recursion
        );
    }
    let incomplete = &manifest.books.incomplete;
    for (count, what) in [
        (incomplete.unidentified_requests, "requests without a submitter: queueing not seen"),
        (incomplete.unseen_ends, "requests without a duration: completion not seen"),
        (
            incomplete.unfinished_requests,
            "requests of disks with queue/iostats 0: in flight at the stop, or completion not seen",
        ),
        (incomplete.earlier_calls, "calls without a row: began before the recording"),
        (incomplete.unfinished_async, "operations of aio and io_uring without a row: in flight at the stop"),
        (incomplete.unfinished_calls, "system calls without a row: not returned at the stop"),
        (incomplete.unmeasured_calls, "calls with unknown run-queue latency (--run-queue)"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "note      {count} {what}");
        }
    }
    for without in &manifest.books.without_row {
        let _ = writeln!(text, "note      without a row: {}", without.text());
    }
    for book in manifest.device_books.iter().filter(|book| !is_idle(book)) {
        let _ = writeln!(text, "device    {}", device_line(book));
    }
    text
}

/// Results of the filters, if there are any.
fn filter_lines(manifest: &Manifest) -> Vec<String> {
    let (Some(words), Some(filtered)) = (manifest.filters.words(), &manifest.filtered) else { return Vec::new() };
    let mut lines = vec![format!("filter    {words}\n")];
    if manifest.is_filter_idle() {
        lines.push("filter    warning: no rows match the filter\n".to_owned());
    } else if manifest.saw_idle_devices() && filtered.rows == Some(0) {
        lines.push("filter    no rows: the devices were idle, and the kernel counted no I/O on them\n".to_owned());
    }
    for disk in &filtered.disks {
        let (read, written) = (HumanBytes(disk.others.read_bytes), HumanBytes(disk.others.write_bytes));
        lines.push(format!(
            "filter    {}: I/O without an owner is included; excluded I/O of other processes: {read} read, {written} written\n",
            disk.name
        ));
    }
    if manifest.lacks_unowned() {
        lines.push("filter    more disks than can be tracked: there are no device totals\n".to_owned());
    }
    for unmapped in &filtered.unmapped {
        let fs_type = unmapped.fs_type.as_deref().unwrap_or("unknown type");
        lines.push(format!(
            "filter    warning: {} rows excluded on file system {} ({fs_type}): its disk is unknown\n",
            unmapped.rows,
            dev_text(unmapped.dev)
        ));
    }
    lines
}

/// Text ` (ring_full 3)`, or nothing if no events were lost.
pub fn causes<'a>(lost: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    let causes = lost.into_iter().filter(|(_, count)| *count > 0);
    let causes: Vec<String> = causes.map(|(cause, count)| format!("{cause} {count}")).collect();
    if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) }
}

fn verdict(balanced: bool) -> &'static str {
    if balanced { "consistent" } else { "INCONSISTENT" }
}

/// Lines at the end of `iostrata snoop`.
pub fn of_requests(outcome: &Outcome) -> String {
    let manifest = &outcome.manifest;
    let mut text = outcome.live.as_ref().map(|live| format!("requests  {}\n", live_line(live, ""))).unwrap_or_default();
    if manifest.filters.min_latency_ns.is_some() {
        let _ = writeln!(text, "requests  {} took less than --min-latency", manifest.books.incomplete.short_requests);
    } else {
        text.extend(filter_lines(manifest));
    }
    for account in manifest.books.by_class().iter().filter(|account| account.lost.total() > 0) {
        let _ = writeln!(text, "events    {}", account_line(account, "processed"));
    }
    text
}

/// Describes the lines of a view; `what` they are, followed by a space.
fn live_line(live: &Shown, what: &str) -> String {
    let why = live.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} {what}shown, {} not shown{why}", live.shown, live.not_shown)
}

fn account_line(account: &Account, kept: &str) -> String {
    let unaccounted =
        if account.balanced() { String::new() } else { format!(", {} seen: {}", account.seen, verdict(false)) };
    format!(
        "{}: {} {kept}, {} lost{}{unaccounted}",
        account.class,
        account.written,
        account.lost.total(),
        causes(account.lost.by_cause())
    )
}

fn is_idle(book: &DeviceCheck) -> bool {
    book.balanced && book.kernel.is_zero() && book.rows.is_zero() && book.uncounted.is_zero()
}

/// Text `3 to 5`, the interval that the counters allow, or `3` if they did not change at the edges.
fn interval(least: u64, more: u64) -> String {
    if more == 0 { least.to_string() } else { format!("{least} to {}", least.saturating_add(more)) }
}

/// Comparison in one direction: operations and bytes of the rows, of the recorder itself, and the interval that the kernel counted.
fn side(name: &str, rows: [u64; 2], own: [u64; 2], kernel: [u64; 2], more: [u64; 2]) -> String {
    let own = if own == [0, 0] { String::new() } else { format!(", plus {} ({} B) by the recorder", own[0], own[1]) };
    format!(
        "{} {name} ({} B) captured{own}, kernel counted {} ({} B)",
        rows[0],
        rows[1],
        interval(kernel[0], more[0]),
        interval(kernel[1], more[1])
    )
}

fn device_line(book: &DeviceCheck) -> String {
    let reads = |of: &DeviceCounters| [of.read_ops, of.read_bytes];
    let writes = |of: &DeviceCounters| [of.write_ops, of.write_bytes];
    let Amounts { read_ops, read_bytes, write_ops, write_bytes } = book.own;
    let mut sides = vec![
        side("reads", reads(&book.rows), [read_ops, read_bytes], reads(&book.kernel), reads(&book.edges)),
        side("writes", writes(&book.rows), [write_ops, write_bytes], writes(&book.kernel), writes(&book.edges)),
    ];
    if !book.uncounted.is_zero() {
        let ([read_ops, read_bytes], [write_ops, write_bytes]) = (reads(&book.uncounted), writes(&book.uncounted));
        sides.push(format!(
            "captured but not counted by the kernel (queue/iostats): {read_ops} reads ({read_bytes} B), {write_ops} writes \
             ({write_bytes} B)"
        ));
    }
    format!("{}: {}: {}", book.device, sides.join("; "), device_verdict(book))
}

/// Result of the comparison, with its exceptions.
fn device_verdict(book: &DeviceCheck) -> String {
    let flushes = match book.unseen_flushes {
        0 => String::new(),
        1 => ", except for 1 flush without a completion event".to_owned(),
        flushes => format!(", except for {flushes} flushes without a completion event"),
    };
    let word = match book.counting {
        _ if !book.balanced => verdict(false),
        Counting::Never => "not checked against kernel counters",
        _ if book.hands_bios_on => "consistent, with at least the bytes that its driver counted",
        _ => verdict(true),
    };
    let partly =
        if book.counting == Counting::Partly { ", except for the I/O that the kernel did not count" } else { "" };
    format!("{word}{flushes}{partly}")
}
