//! Import of blktrace(8) records: one file per CPU, or one stream of all (`blkparse -d`, `blktrace -o -`).
//!
//! The files are read twice. The first pass ([`survey`]) checks every record, and finds the wall-clock time and the places of each CPU's
//! records in a stream. The second pass sorts the records of all CPUs by time ([`merge`]) and makes requests of them ([`requests`]). Only
//! requests in flight are kept in memory.

mod lane;
mod merge;
mod names;
mod piece;
mod pieces;
mod record;
mod requests;
mod survey;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use iostrata_capture::dir::Dir;
use iostrata_capture::manifest::WITHOUT_QUEUEING;

use super::gathered::Gathered;
use super::unpacked;
use merge::Merge;
use names::Names;
use piece::Ended;
use record::{Event, Notice};
use requests::{Requests, Unfinished};
use survey::{Cut, Survey};

/// Imports the requests of `files`. Input that cannot be read twice is copied to a temporary file below `out`.
pub fn read(files: &[PathBuf], out: &Dir, gathered: &mut Gathered) -> Result<()> {
    let mut survey = Survey::default();
    for path in files {
        let (file, is_cut) = seekable(path, out).with_context(|| super::not_a_trace(path))?;
        survey.look_through(&Arc::new(file), path, is_cut).with_context(|| super::not_a_trace(path))?;
    }
    let offset_ns = survey.offset_ns()?;
    for (device, disk) in &survey.disks {
        gathered.known.disks.add(*device as i32, disk.name(*device), survey.level_of(*device))?;
    }
    let mut disks: BTreeMap<u32, Requests> = BTreeMap::new();
    let mut names = Names::default();
    let mut merge = Merge::new(std::mem::take(&mut survey.lanes))?;
    while let Some(record) = merge.next()? {
        match record.event() {
            Event::Notice(Notice::Process(comm)) => names.learn(record.pid, comm),
            Event::Notice(_) => {}
            Event::Block(action) => {
                let requests = disks.entry(record.device).or_insert_with(|| {
                    let level = gathered.known.disks.level(record.device as i32);
                    Requests::new((record.device as i32, level), offset_ns.unwrap_or(0), survey.tells_queueing)
                });
                if let Some(request) = requests.take(&record, action, &names) {
                    push(gathered, &request)?;
                }
            }
        }
    }
    let mut left = Unfinished::default();
    for (_, requests) in disks {
        let (ended, unfinished) = requests.finish();
        ended.iter().try_for_each(|request| push(gathered, request))?;
        left.add(unfinished);
    }
    gathered.known.offset_ns = offset_ns;
    if !survey.tells_queueing {
        gathered.known.without.push(WITHOUT_QUEUEING);
    }
    gathered.known.incomplete = survey.missing > 0;
    for cut in &survey.cut {
        let until_ns = cut.until.map(|until| offset_ns.unwrap_or(0).saturating_add_unsigned(until));
        gathered.known.cut_off(until_ns);
    }
    gathered.known.remarks = remarks((&survey, offset_ns.is_some()), &left);
    Ok(())
}

fn push(gathered: &mut Gathered, request: &Ended) -> Result<()> {
    gathered.known.unidentified += u64::from(request.is_unidentified);
    gathered.push(&request.traced)
}

/// Returns remarks on data that is not in the rows.
fn remarks((survey, has_clock): (&Survey, bool), left: &Unfinished) -> Vec<String> {
    let mut remarks = Vec::new();
    for Cut { path, bytes, .. } in &survey.cut {
        remarks.push(match bytes {
            0 => super::cut_off(path, unpacked::CUT_OFF),
            _ => super::cut_off(path, &format!("its last {bytes} bytes are an incomplete record")),
        });
    }
    let missing = survey.missing;
    if missing > 0 {
        remarks.push(match missing {
            1 => "1 record of the trace is missing, by its number".to_owned(),
            _ => format!("{missing} records of the trace are missing, by their numbers"),
        });
    }
    if !survey.tells_queueing {
        remarks.push(
            "the trace has no queueing (Q, G): requests begin at insertion or issue, and `device` (D2C) is the only known phase"
                .to_owned(),
        );
    }
    if !has_clock {
        remarks.push("the trace has no wall-clock time: its own times are used, as if since 1970".to_owned());
    }
    for (count, one, several) in [
        (
            left.issued,
            "issued request had not completed when the trace ended: it has no row",
            "issued requests had not completed when the trace ended: they have no row",
        ),
        (
            left.waiting,
            "bio or request was not issued before the trace ended: it has no row",
            "bios or requests were not issued before the trace ended: they have no row",
        ),
        (
            left.forgotten,
            "bio or request was excluded: too many in flight at once",
            "bios or requests were excluded: too many in flight at once",
        ),
    ] {
        match count {
            0 => {}
            1 => remarks.push(format!("1 {one}")),
            _ => remarks.push(format!("{count} {several}")),
        }
    }
    remarks
}

/// Returns a seekable file, and whether its compressed data was truncated. Compressed files and other input than regular files are
/// copied.
fn seekable(path: &Path, out: &Dir) -> Result<(File, bool)> {
    let (mut trace, is_packed) = unpacked::open(path)?;
    if path.to_str() != Some("-") && !is_packed && fs::metadata(path)?.is_file() {
        return Ok((File::open(path)?, false));
    }
    let mut file = out.create_file(".stream")?;
    // The file has no name from here on, and its space is free when it is closed.
    out.remove(".stream")?;
    match io::copy(&mut trace, &mut file) {
        Err(error) if unpacked::is_cut_off(is_packed, &error) => Ok((file, true)),
        copied => copied.map(|_| (file, false)).map_err(Into::into),
    }
}

#[cfg(test)]
mod tests;
