//! The end of a recording in words: what was captured and whether the books balance.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use indicatif::HumanBytes;
use iostrata_capture::ledger::{Account, Amounts};
use iostrata_capture::manifest::{Counting, DeviceBook, DeviceCounters, Manifest};

use crate::sink::Size;
use crate::sink::live::Shown;

/// Lines for the terminal; `out` is where the capture is, if it was kept, and what its parts take.
pub fn text(manifest: &Manifest, out: Option<(&Path, Size)>, live: Option<&Shown>) -> String {
    let mut text = String::new();
    if let Some((out, Size { parts, bytes })) = out {
        let _ = writeln!(text, "capture   {} ({parts} parts, {})", out.display(), HumanBytes(bytes));
    }
    if let Some(live) = live {
        let _ = writeln!(text, "live      {}", live_line(live));
    }
    if let Some(reason) = &manifest.stop_reason {
        let _ = writeln!(text, "stopped   {reason}");
    }
    text.extend(filter_lines(manifest));
    for (layer, state) in manifest.layers.iter().filter(|(_, state)| !state.captured) {
        let _ = writeln!(text, "layer     {layer} not captured: {}", state.how);
    }
    for (layer, state) in manifest.layers.iter().filter(|(_, state)| !state.without.is_empty()) {
        let _ = writeln!(
            text,
            "layer     {layer} without {}: this kernel does not let it be captured",
            state.without.join(", ")
        );
    }
    if let Some(sampling) = manifest.sampling.filter(|sampling| sampling.greatest_weight > 1) {
        let time = humantime::format_duration(Duration::from_secs(sampling.sampled_ms / 1000));
        let _ = writeln!(
            text,
            "sampled   for {time}, down to one in {}, to stay within --cpu-limit {}: each row says for how many events it stands, \
             and rows are not held against the devices' counters",
            sampling.greatest_weight, sampling.cpu_limit_percent
        );
    }
    for account in manifest.books.by_class() {
        let _ = writeln!(text, "books     {}", account_line(&account, if out.is_some() { "written" } else { "taken" }));
    }
    for skipped in &manifest.books.skipped {
        let _ = writeln!(
            text,
            "books     {} skipped {} times: those events are unknown",
            skipped.program, skipped.recursion
        );
    }
    let incomplete = &manifest.books.incomplete;
    for (count, what) in [
        (incomplete.unidentified_requests, "requests without a submitter: their queueing was not seen"),
        (incomplete.unseen_ends, "requests without a duration: their end was not seen"),
        (
            incomplete.unfinished_requests,
            "requests of disks that do not count (queue/iostats): under way at the stop, or their end was not seen",
        ),
        (incomplete.earlier_calls, "calls without a row: they had begun before the recording"),
        (incomplete.unfinished_async, "operations of aio and io_uring without a row: they had not ended"),
        (incomplete.unfinished_calls, "system calls without a row: they had not returned"),
        (incomplete.unmeasured_calls, "calls of which it is not known how long they waited for a CPU (--run-queue)"),
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

/// What came of the filters, where there are any.
fn filter_lines(manifest: &Manifest) -> Vec<String> {
    let (Some(words), Some(filtered)) = (manifest.filters.words(), &manifest.filtered) else { return Vec::new() };
    let mut lines = vec![format!("filter    {words}\n")];
    if manifest.is_filter_idle() {
        lines.push("filter    warning: no row is of what the filter names\n".to_owned());
    } else if manifest.saw_idle_devices() && filtered.rows == Some(0) {
        lines.push("filter    no row: the devices stood still, the kernel counted nothing on them either\n".to_owned());
    }
    for disk in &filtered.disks {
        let (read, written) = (HumanBytes(disk.others.read_bytes), HumanBytes(disk.others.write_bytes));
        lines.push(format!(
            "filter    {}: with what no process owns; left out of other processes: {read} read, {written} written\n",
            disk.name
        ));
    }
    if manifest.lacks_unowned() {
        lines.push("filter    more disks than can be followed: there is no total of devices\n".to_owned());
    }
    for unmapped in &filtered.unmapped {
        let fs_type = unmapped.fs_type.as_deref().unwrap_or("unknown type");
        let (major, minor) = (unmapped.dev as u32 >> 20, unmapped.dev & 0xf_ffff);
        lines.push(format!(
            "filter    warning: {} rows left out on file system {major}:{minor} ({fs_type}), whose disk is not known\n",
            unmapped.rows
        ));
    }
    lines
}

/// ` (ring_full 3)`, or nothing where nothing was lost.
pub fn causes<'a>(lost: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    let causes = lost.into_iter().filter(|(_, count)| *count > 0);
    let causes: Vec<String> = causes.map(|(cause, count)| format!("{cause} {count}")).collect();
    if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) }
}

fn verdict(balanced: bool) -> &'static str {
    if balanced { "balanced" } else { "NOT BALANCED" }
}

fn live_line(live: &Shown) -> String {
    let why = live.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} rows shown, {} not shown{why}", live.shown, live.not_shown)
}

fn account_line(account: &Account, kept: &str) -> String {
    format!(
        "{:<8} seen {} = {kept} {} + lost {}{}: {}",
        account.class,
        account.seen,
        account.written,
        account.lost.total(),
        causes(account.lost.by_cause()),
        verdict(account.balanced())
    )
}

fn is_idle(book: &DeviceBook) -> bool {
    book.balanced && book.kernel.is_zero() && book.rows.is_zero() && book.uncounted.is_zero()
}

/// `kernel 3 to 5 reads`: what the counters allow, where they moved in instants in which ends were seen or not.
fn interval(least: u64, more: u64) -> String {
    if more == 0 { least.to_string() } else { format!("{least} to {}", least.saturating_add(more)) }
}

fn side(name: &str, of: &DeviceCounters, more: &DeviceCounters) -> String {
    format!(
        "{name} {} reads {} B, {} writes {} B",
        interval(of.read_ops, more.read_ops),
        interval(of.read_bytes, more.read_bytes),
        interval(of.write_ops, more.write_ops),
        interval(of.write_bytes, more.write_bytes)
    )
}

fn device_line(book: &DeviceBook) -> String {
    let none = DeviceCounters::default();
    let Amounts { read_ops, read_bytes, write_ops, write_bytes } = book.own;
    let own = DeviceCounters { read_ops, read_bytes, write_ops, write_bytes, ..none };
    let mut sides = vec![side("kernel", &book.kernel, &book.edges), side("rows", &book.rows, &none)];
    if !own.is_zero() {
        sides.push(side("own", &own, &none));
    }
    if !book.uncounted.is_zero() {
        sides.push(side("not counted by the kernel (queue/iostats)", &book.uncounted, &none));
    }
    format!("{}: {}: {}", book.device, sides.join("; "), device_verdict(book))
}

/// What the comparison came to. One that leaves room is no balance.
fn device_verdict(book: &DeviceBook) -> String {
    let flushes = match book.unseen_flushes {
        0 => String::new(),
        1 => ", but for a flush whose end nobody saw".to_owned(),
        flushes => format!(", but for {flushes} flushes whose end nobody saw"),
    };
    let word = match book.counting {
        _ if !book.balanced => verdict(false),
        Counting::Never => "no witness",
        _ if book.hands_bios_on => "no byte less than its driver counted",
        _ if book.edges.is_zero() => verdict(true),
        _ => "within what the kernel counted",
    };
    let partly = if book.counting == Counting::Partly { ", of which there are rows that it left out" } else { "" };
    format!("{word}{flushes}{partly}")
}
