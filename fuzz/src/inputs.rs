//! Runs one input of a kind through the same code as a call of the analyzer.
//!
//! The fuzz targets and the regression test of the corpus (`crates/analyze/tests/it/fuzz`) run the same functions. The
//! analyzer may reject an input with a one-line error; any other failure is a finding.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::abort;

use iostrata_analyze::analyses::{self, Analysis};
use iostrata_analyze::commands;
use iostrata_analyze::import::lines::Format;
use iostrata_analyze::import::{Import, Trace};
use iostrata_analyze::options::{Analyze, Command};
use iostrata_analyze::output::message;
use iostrata_analyze::store::Partials;
use iostrata_analyze::store::bundle::{Bundle, Writer, packed};
use iostrata_analyze::trust::PartialRows;
use iostrata_capture::dir::Dir;
use iostrata_capture::panic_guard::reading;
use iostrata_capture::part::{PartFile, PartReader, PartWriter, Place};
use iostrata_capture::system::{Identity, Systems};
use iostrata_capture::table::Table;
use iostrata_capture::tables::{BlockTable, SyscallTable};
use tempfile::TempDir;

/// Kinds of input, by target name.
pub const KINDS: [(&str, Run); 7] = [
    ("manifest", manifest),
    ("list", list),
    ("sidecar", sidecar),
    ("rules", rules),
    ("parquet", parquet),
    ("partial", partial),
    ("import", import),
];

/// Runs an input through the program.
pub type Run = fn(&Stage, &[u8]);

macro_rules! fixture {
    ($($table:literal),+) => {
        [$(($table, include_bytes!(concat!(
            "../../tests/fixtures/debian-6.12-nvme/", $table, "/part-000001.parquet"
        )))),+]
    };
}

/// Parts written by a recorder.
pub const PARTS: [(&str, &[u8]); 7] = fixture!("syscall", "vfs", "fs", "block", "share", "process", "file");

/// Manifest of the capture of [`PARTS`].
pub const MANIFEST: &str = include_str!("../../tests/fixtures/debian-6.12-nvme/manifest.json");

/// List of [`PARTS`].
pub const LIST: &str = include_str!("../../tests/fixtures/debian-6.12-nvme/parts.jsonl");

/// Number of the leading [`PARTS`] that captures for other inputs omit, for speed.
pub const LARGE: usize = 3;

/// All tables of a capture, in the order of their numbers in inputs.
const TABLES: [&str; 9] = ["syscall", "vfs", "fs", "block", "share", "process", "file", "clock", "loss"];

/// Temporary directory, in memory if possible, in which inputs become captures.
pub struct Stage {
    place: TempDir,
}

impl Stage {
    /// Creates an empty stage. From then on a panic in this project aborts the process, also where the analyzer would convert it
    /// into an error: only the libraries that decode parts may panic.
    pub fn new() -> std::io::Result<Stage> {
        // Installs the panic hook of the analyzer first, then wraps it.
        let _ = reading(Path::new("."), || Ok(()));
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or("", |location| location.file());
            if place.contains("crates/analyze/") || place.contains("crates/capture/") {
                eprintln!("panic in the project: {info}");
                abort();
            }
            before(info);
        }));
        Ok(Stage { place: tempfile::tempdir()? })
    }

    /// Creates an empty directory.
    fn fresh(&self) -> PathBuf {
        let directory = self.place.path().join("capture");
        let _ = fs::remove_dir_all(&directory);
        must(fs::create_dir(&directory));
        directory
    }
}

/// Exits on errors of the test setup: a full disk is not a finding.
fn must<T>(result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("cannot write the input: {error}");
        std::process::exit(77)
    })
}

/// Writes the file at `path` below `directory`, and creates its folder.
fn put(directory: &Path, path: &str, bytes: &[u8]) {
    let path = directory.join(path);
    if let Some(folder) = path.parent() {
        must(fs::create_dir_all(folder));
    }
    must(fs::write(path, bytes));
}

/// Runs `command`, which may fail with a one-line error.
fn run(command: &Command) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    if let Err(error) = commands::run(command, &mut out, &mut err) {
        told_on_one_line(&error);
    }
}

fn told_on_one_line(error: &anyhow::Error) {
    let message = message(error);
    assert!(!message.is_empty() && message.lines().count() == 1, "not one line: {message:?}");
}

fn summary(capture: &Path) {
    run(&Command::Analyze(Box::new(analysis(&analyses::summary::ANALYSIS, capture))));
}

fn analysis(analysis: &'static Analysis, capture: &Path) -> Analyze {
    Analyze {
        out: Some(capture.join("results")),
        // Generated parts never match the recorded row counts.
        partial_rows: PartialRows::Taken,
        ..Analyze::new(analysis, vec![capture.to_owned()])
    }
}

fn recover(capture: &Path) {
    run(&Command::Recover(vec![capture.to_owned()]));
}

/// The bytes of a manifest, next to valid parts.
pub fn manifest(stage: &Stage, input: &[u8]) {
    let capture = stage.fresh();
    put_parts(&capture);
    put(&capture, "manifest.json", input);
    put(&capture, "parts.jsonl", b"");
    summary(&capture);
    recover(&capture);
    summary(&capture);
}

/// The bytes of a list, next to valid parts, in an incomplete capture.
pub fn list(stage: &Stage, input: &[u8]) {
    let capture = stage.fresh();
    put_parts(&capture);
    put(&capture, "manifest.json", small_manifest(true).as_bytes());
    put(&capture, "parts.jsonl", input);
    summary(&capture);
    recover(&capture);
    summary(&capture);
}

fn put_parts(capture: &Path) {
    PARTS[LARGE..].iter().for_each(|(table, part)| put(capture, &format!("{table}/part-000001.parquet"), part));
}

/// A rules file, applied to processes.
pub fn rules(stage: &Stage, input: &[u8]) {
    let path = stage.place.path().join("rules.toml");
    must(fs::write(&path, input));
    match Systems::with_file(&path) {
        Ok(systems) => {
            let identity = Identity {
                exe: Some("/usr/lib/postgresql/15/bin/postgres"),
                cmdline: Some("postgres: checkpointer {a,b} [x] **/*"),
                cgroup: Some("/system.slice/postgresql.service"),
                comm: Some("postgres"),
                kernel_thread: false,
            };
            systems.name_of(&identity);
            systems.name_of(&Identity { comm: Some("kworker/u8:3"), kernel_thread: true, ..Identity::default() });
        }
        Err(error) => {
            told_on_one_line(&error.into());
        }
    }
}

/// Manifest of a complete capture, or of an incomplete one.
fn small_manifest(cut_off: bool) -> String {
    let between = |from: &str, to: &str| {
        let text = &MANIFEST[MANIFEST.find(from).unwrap_or(0)..];
        &text[..text.find(to).unwrap_or(text.len())]
    };
    // Every call reads the probes, and no input concerns them.
    let probes = between("\"probes\"", "\"filters\"");
    let text = MANIFEST.replace(probes, "\"probes\": [],");
    if cut_off { text.replacen("\"complete\"", "\"recording\"", 1) } else { text }
}

/// Writes a manifest and an empty list of parts.
fn put_unlisted(capture: &Path, cut_off: bool) {
    put(capture, "manifest.json", small_manifest(cut_off).as_bytes());
    put(capture, "parts.jsonl", b"");
}

/// Writes block requests, so that a table that others refer to has events to go with.
fn requests(capture: &Path, table: &str) {
    for (name, part) in PARTS.iter().filter(|(name, _)| *name == "block" && ["process", "file"].contains(&table)) {
        put(capture, &format!("{name}/part-000001.parquet"), part);
    }
}

/// Decodes the first byte of an input: the table and two flags.
fn head(input: &[u8]) -> Option<(&'static str, bool, bool, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((TABLES[usize::from(first & 0xf) % TABLES.len()], first & 0x80 != 0, first & 0x40 != 0, rest))
}

/// A finished part: the whole file, or the body and the footer separately, so that mutations of either leave the file's frame valid.
///
/// | bytes | |
/// | --- | --- |
/// | 1 | the table; 0x80: the rest is the whole file; 0x40: the capture is incomplete |
/// | 2 | length of the footer, little endian |
/// | … | the bytes between the magic number and the footer, then the footer without its length |
pub fn parquet(stage: &Stage, input: &[u8]) {
    let Some((table, whole, cut_off, rest)) = head(input) else { return };
    let part = if whole { rest.to_vec() } else { framed(rest) };
    let capture = stage.fresh();
    put_unlisted(&capture, cut_off);
    requests(&capture, table);
    put(&capture, &format!("{table}/part-000001.parquet"), &part);
    if cut_off {
        recover(&capture);
    }
    summary(&capture);
}

fn framed(rest: &[u8]) -> Vec<u8> {
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Vec::new() };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    [b"PAR1".as_slice(), rest, &(length as u32).to_le_bytes(), b"PAR1"].concat()
}

/// An unfinished part and its log: unchanged, or with valid checksums, which a random mutation would not match.
///
/// | bytes | |
/// | --- | --- |
/// | 1 | the table; 0x80: unchanged |
/// | 2 | length of the part, little endian |
/// | … | the part, then the log |
pub fn sidecar(stage: &Stage, input: &[u8]) {
    let Some((table, as_is, _, rest)) = head(input) else { return };
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return };
    let (part, log) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let mut log = log.to_vec();
    if !as_is {
        sign(part, &mut log);
    }
    let capture = stage.fresh();
    put_unlisted(&capture, true);
    put(&capture, &format!("{table}/.part-000001.parquet.tmp"), part);
    put(&capture, &format!("{table}/.part-000001.parquet.groups"), &log);
    summary(&capture);
    recover(&capture);
}

/// Sets the checksums of each record of `log`: of the record and of the bytes that it covers (`crates/capture/src/part/log.rs`).
fn sign(part: &[u8], log: &mut [u8]) {
    let mut begin = 0;
    let mut rest = log.get_mut(16..).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk_mut::<8>() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((body, after)) = after.split_at_mut_checked(length) else { return };
        if let Some((end, sum)) = body.split_first_chunk_mut::<8>() {
            let end = usize::try_from(u64::from_le_bytes(*end)).unwrap_or(usize::MAX);
            let about = part.get(begin..end).unwrap_or_default();
            if let Some(sum) = sum.first_chunk_mut::<4>() {
                *sum = crc32fast::hash(about).to_le_bytes();
            }
            begin = end;
        }
        head[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        rest = after;
    }
}

/// Trace formats, in the order of their numbers in inputs.
const TRACES: [Trace; 4] =
    [Trace::Blktrace, Trace::Lines(Format::Msr), Trace::Lines(Format::Alibaba), Trace::Lines(Format::Tencent)];

/// A trace of another program. If the import succeeds, the analysis of the capture must succeed.
///
/// | bytes | |
/// | --- | --- |
/// | 1 | the trace format; 0x80: the trace is in two files |
/// | 2 | length of the first of two, little endian |
/// | … | the file, or both |
pub fn import(stage: &Stage, input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let directory = stage.fresh();
    let (one, two) = match rest.split_first_chunk::<2>().filter(|_| first & 0x80 != 0) {
        Some((length, rest)) => rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len())),
        None => (rest, &[][..]),
    };
    let files: Vec<PathBuf> = (0..1 + u8::from(first & 0x80 != 0))
        .map(|cpu| directory.join(format!("sda.blktrace.{cpu}")))
        .zip([one, two])
        .map(|(path, bytes)| must(fs::write(&path, bytes).map(|()| path)))
        .collect();
    let (trace, out) = (TRACES[usize::from(first & 0xf) % TRACES.len()], directory.join("capture"));
    let command = Command::Import(Import { trace, files, out: out.clone() });
    match commands::run(&command, &mut Vec::new(), &mut Vec::new()) {
        Ok(_) => [&analyses::summary::ANALYSIS, &analyses::pattern::ANALYSIS, &analyses::queue::ANALYSIS]
            .iter()
            .for_each(|what| {
                let command = Command::Analyze(Box::new(analysis(what, &out)));
                let made = commands::run(&command, &mut Vec::new(), &mut Vec::new());
                assert!(made.is_ok(), "the imported capture cannot be analyzed: {made:?}");
            }),
        Err(error) => told_on_one_line(&error),
    }
}

/// Analyses in the order of their numbers in inputs. New ones go to the end, because the corpus has the numbers of the others.
const NUMBERED: [&str; 15] = [
    "summary",
    "timeline",
    "sizes",
    "heatmap",
    "footprint",
    "pattern",
    "arrivals",
    "queue",
    "path",
    "amplification",
    "latency",
    "sync",
    "cache",
    "quality",
    "top",
];

/// Returns the analysis of this number.
pub fn numbered(number: usize) -> &'static Analysis {
    let name = NUMBERED[number % NUMBERED.len()];
    analyses::ALL.iter().find(|analysis| analysis.name == name).expect("an analysis of this name")
}

/// A file of partials to merge: the whole file, or one of its partials, uncompressed.
///
/// | bytes | |
/// | --- | --- |
/// | 1 | the number of the analysis; 0x80: the rest is the whole file |
/// | … | the file, or the largest partial of a small capture |
pub fn partial(stage: &Stage, input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let capture = stage.fresh();
    let what = numbered(usize::from(first & 0x7f));
    let file = capture.join("partials");
    let bundle = partials(&capture, what, &file);
    if first & 0x80 != 0 {
        must(fs::write(&file, rest));
    } else {
        replace_largest(&bundle, &file, rest);
    }
    run(&Command::Analyze(Box::new(Analyze { partials: Partials::From(vec![file]), ..analysis(what, &capture) })));
}

/// Writes the partials of a small capture into a file.
fn partials(capture: &Path, what: &'static Analysis, file: &Path) -> Bundle {
    put_unlisted(capture, false);
    if analysis(what, capture).settings().crossing {
        few::<SyscallTable>(capture)
    } else {
        few::<BlockTable>(capture)
    }
    let partials = Partials::To { share: (1, 1), file: file.to_owned(), from: Vec::new() };
    run(&Command::Partial(Box::new(Analyze { out: None, partials, ..analysis(what, capture) })));
    Bundle::open(file).expect("written above")
}

/// Writes the first rows of a table as a part.
fn few<T: Table>(capture: &Path) {
    let whole = capture.join("whole");
    PARTS.iter().filter(|(table, _)| *table == T::NAME).for_each(|(_, part)| must(fs::write(&whole, part)));
    let rows = PartReader::open::<T>(&PartFile::Whole(Place::named(&whole).expect("exists")))
        .expect("a part")
        .next()
        .expect("rows")
        .expect("readable");
    must(fs::create_dir_all(capture.join(T::NAME)));
    let mut writer = PartWriter::create::<T>(&Dir::open(capture).expect("exists"), 1, None).expect("room");
    writer.write(&rows.slice(0, ROWS.min(rows.num_rows()))).expect("room");
    writer.finish().expect("room");
}

/// Number of rows in the capture of partials.
const ROWS: usize = 16;

/// Returns the largest partial of an analysis of the small capture.
pub fn largest(stage: &Stage, what: &'static Analysis) -> Vec<u8> {
    let capture = stage.fresh();
    let bundle = partials(&capture, what, &capture.join("partials"));
    let raws = bundle.places.values().map(|place| bundle.read(place).expect("written above"));
    raws.max_by_key(Vec::len).unwrap_or_default()
}

fn replace_largest(bundle: &Bundle, file: &Path, raw: &[u8]) {
    let bytes = |place| bundle.read(place).map_or(0, |raw| raw.len());
    let largest = bundle.places.iter().max_by_key(|(_, place)| bytes(place)).map(|(id, _)| *id);
    let written = largest.map_or(Ok(0), |id| {
        let mut writer = Writer::create(file, &bundle.header)?;
        writer.add(id, raw, &packed(raw)?)?;
        writer.finish()
    });
    written.map(drop).unwrap_or_else(|error| must(Err(std::io::Error::other(error))));
}
