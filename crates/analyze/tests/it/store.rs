//! Partial results in files: the results are the same to the byte, whichever machine read which events at what time.

use std::collections::BTreeMap;
use std::fs;
use std::hash::Hasher;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use iostrata_analyze::aggregate::Precision;
use iostrata_analyze::analyses;
use iostrata_analyze::commands::run;
use iostrata_analyze::options::{Analyze, Command};
use iostrata_analyze::output::message;
use iostrata_analyze::partial::ROWS;
use iostrata_analyze::store::bundle::Bundle;
use iostrata_analyze::store::stored::CAPTURE;
use iostrata_analyze::store::{Kept, Partials};
use iostrata_capture::manifest::State;
use iostrata_capture::op::Layer;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::order::{capture, crossing, operations};
use crate::support::Capture;

/// Options of a report of captures.
fn report(captures: &[PathBuf], out: Option<PathBuf>, partials: Partials, stretch_rows: u64) -> Analyze {
    Analyze {
        out,
        threads: NonZeroUsize::new(2).expect("not zero"),
        partials,
        stretch_rows: Some(stretch_rows),
        ..Analyze::new(&analyses::REPORT, captures.to_vec())
    }
}

/// Returns the output of a report, and the names and contents of its files.
fn written(
    captures: &[PathBuf],
    partials: Partials,
    stretch_rows: u64,
) -> Result<(String, Vec<(String, String)>), String> {
    let out = tempfile::tempdir().expect("a temporary directory");
    let command = Command::Analyze(Box::new(report(captures, Some(out.path().to_owned()), partials, stretch_rows)));
    let mut printed = Vec::new();
    run(&command, &mut printed, &mut Vec::new()).map_err(|error| message(&error))?;
    let mut files: Vec<(String, String)> = fs::read_dir(out.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            (path.file_name().expect("a name").to_string_lossy().into(), fs::read_to_string(path).expect("text"))
        })
        .collect();
    files.sort_unstable();
    Ok((String::from_utf8(printed).expect("UTF-8"), files))
}

fn fresh(captures: &[PathBuf]) -> Vec<(String, String)> {
    written(captures, Partials::None, u64::MAX).expect("a result").1
}

/// Writes the file of a share of a report.
fn partial(place: &Path, captures: &[PathBuf], share: (u64, u64), stretch_rows: u64) -> PathBuf {
    let file = place.join(format!("{}-of-{}.partial", share.0, share.1));
    let partials = Partials::To { share, file: file.clone(), from: Vec::new() };
    let command = Command::Partial(Box::new(report(captures, None, partials, stretch_rows)));
    run(&command, &mut Vec::new(), &mut Vec::new()).expect("a share");
    file
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/debian-6.12-nvme")
}

const KEPT: &str = "All partial results were reused; no events were read.";

#[test]
fn a_real_capture_in_any_number_of_shares_is_the_same() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let captures = [fixture()];
    let whole = fresh(&captures);
    assert!(whole.len() > 20, "{}", whole.len());
    for (shares, stretch_rows) in [(1, 37), (2, 500), (3, 37), (7, 100)] {
        let files = (1..=shares).rev().map(|share| partial(place.path(), &captures, (share, shares), stretch_rows));
        let (printed, merged) = written(&captures, Partials::From(files.collect()), stretch_rows).expect("a result");
        assert!(merged == whole, "{shares}");
        assert!(printed.contains(KEPT), "{printed}");
    }
}

#[test]
fn what_no_partial_has_is_read() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let captures = [fixture()];
    let one = partial(place.path(), &captures, (2, 3), 37);
    let (printed, merged) = written(&captures, Partials::From(vec![one.clone(), one]), 37).expect("a result");
    assert!(merged == fresh(&captures));
    assert!(printed.contains("partial results were reused; the events of the others were read."), "{printed}");
    // Partial results of other stretches.
    let other = partial(place.path(), &captures, (1, 1), 91);
    let (printed, merged) = written(&captures, Partials::From(vec![other]), 37).expect("a result");
    assert!(merged == fresh(&captures));
    assert!(!printed.contains(KEPT), "{printed}");
}

/// Returns the size of the header of a file of partial results.
fn header_bytes(file: &[u8]) -> usize {
    20 + u32::from_le_bytes(file[16..20].try_into().expect("four bytes")) as usize
}

/// Replaces a text in the header of a file by one of the same length.
fn replaced(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let header = String::from_utf8(file[20..header_bytes(file)].to_vec()).expect("JSON");
    assert!(header.contains(from) && from.len() == to.len(), "{header}");
    [&file[..20], header.replace(from, to).as_bytes(), &file[20 + header.len()..]].concat()
}

#[test]
fn partial_results_of_another_build_with_the_same_versions_are_merged() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let captures = [fixture()];
    let file = partial(place.path(), &captures, (1, 1), 500);
    let whole = fs::read(&file).expect("there");
    let header = String::from_utf8_lossy(&whole[20..header_bytes(&whole)]).into_owned();
    let program = header.split('"').nth(3).expect("a program").to_owned();
    assert_eq!(program.len(), 32, "{header}");
    fs::write(&file, replaced(&whole, &program, &"0".repeat(32))).expect("room");
    let (printed, merged) = written(&captures, Partials::From(vec![file]), 500).expect("a result");
    assert!(merged == fresh(&captures) && printed.contains(KEPT), "{printed}");
}

/// Returns version and form of each state in a file of partial results, by name. The form is a hash of the sorted bytes, because hash tables are stored in
/// no order; it does not depend on the order of the units.
fn forms(file: &Path) -> BTreeMap<String, (u32, String)> {
    let hash = |bytes: &[u8]| {
        let mut hasher = SipHasher13::new();
        hasher.write(bytes);
        hasher.finish128().as_bytes()
    };
    let bundle = Bundle::open(file).expect("a sound file");
    let mut stored: BTreeMap<String, Vec<[u8; 16]>> = BTreeMap::new();
    for place in bundle.places.values() {
        let mut kept: Kept = postcard::from_bytes(&bundle.read(place).expect("sound")).expect("sound");
        let mut add = |name: &str, bytes: postcard::Result<Vec<u8>>| {
            let mut bytes = bytes.expect("memory");
            bytes.sort_unstable();
            stored.entry(name.to_owned()).or_default().push(hash(&bytes));
        };
        kept.partial.aggregates.encoded().for_each(|(name, state)| add(name, state));
        kept.partial.aggregates = Default::default();
        for (_, _, sequence) in &mut kept.sequences {
            sequence.states.encoded().for_each(|(name, state)| add(name, state));
            sequence.states = Default::default();
        }
        add(ROWS, postcard::to_stdvec(&kept));
    }
    let form = |(name, mut units): (String, Vec<[u8; 16]>)| {
        units.sort_unstable();
        let form = hash(&postcard::to_stdvec(&units).expect("memory"));
        let version = bundle.header.states[&name];
        (name, (version, form.iter().map(|byte| format!("{byte:02x}")).collect()))
    };
    let documents = bundle.named.iter().filter(|(name, _)| name.starts_with("capture-"));
    let document = |(_, place)| serde_json::from_slice(&bundle.read(place).expect("sound")).expect("JSON");
    let mut keys: Vec<String> = documents.map(document).flat_map(|document: Value| paths(&document)).collect();
    keys.sort_unstable();
    keys.dedup();
    stored.insert(CAPTURE.to_owned(), vec![hash(keys.join("\n").as_bytes())]);
    stored.into_iter().map(form).collect()
}

/// Returns the path of each key in a document.
fn paths(value: &Value) -> Vec<String> {
    let below = |key: &str, value: &Value| -> Vec<String> {
        [String::new()].into_iter().chain(paths(value)).map(|path| format!("/{key}{path}")).collect()
    };
    match value {
        Value::Object(members) => members.iter().flat_map(|(key, value)| below(key, value)).collect(),
        Value::Array(values) => values.iter().flat_map(|value| below("", value)).collect(),
        _ => Vec::new(),
    }
}

/// The stored form of each state, for its version, is in `tests/forms/STATE.txt`. If this fails, a stored form has changed, or what is stored of the
/// same rows: files of earlier builds must not be merged with those of this one. Raise the VERSION of that state, and enter the new form there.
#[test]
fn a_state_that_is_stored_otherwise_has_another_version() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("all.partial");
    let partials = Partials::To { share: (1, 1), file: file.clone(), from: Vec::new() };
    // With one thread names are numbered in the order of the rows.
    let options = Analyze { threads: NonZeroUsize::MIN, ..report(&[fixture()], None, partials, 500) };
    run(&Command::Partial(Box::new(options)), &mut Vec::new(), &mut Vec::new()).expect("a share");
    let forms = forms(&file);
    assert!(forms.len() > 8, "{forms:?}");
    let known = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forms").join(format!("{name}.txt"));
        fs::read_to_string(file).unwrap_or_default().trim_end().to_owned()
    };
    let found = forms.into_iter().map(|(name, (version, form))| (known(&name), format!("{version} {form}"), name));
    let other: Vec<_> = found.filter(|(known, found, _)| known != found).collect();
    assert!(other.is_empty(), "version and form, known and found: {other:#?}");
}

#[test]
fn a_file_that_was_cut_or_changed_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let captures = [fixture()];
    let file = partial(place.path(), &captures, (1, 1), 500);
    let whole = fs::read(&file).expect("there");
    let refused = |bytes: &[u8]| {
        fs::write(&file, bytes).expect("room");
        written(&captures, Partials::From(vec![file.clone()]), 500).expect_err("refused")
    };
    let name = file.display();
    assert_eq!(
        refused(b"PAR1"),
        format!("{name}: not a file of partial results, expected one of `iostrata-analyze partial`")
    );
    assert!(refused(&whole[..whole.len() / 2]).contains(": truncated file, expected an end after "));
    assert!(refused(&whole[..whole.len() - 1]).contains(": truncated file, expected an end after "));
    assert_eq!(
        refused(&[&whole[..], b"x"].concat()),
        format!("{name}: corrupt file, its end does not match its contents")
    );
    assert_eq!(
        refused(&[b"iostrata-part-02", &whole[16..]].concat()),
        format!("{name}: a file of another version of iostrata-analyze, expected one in the layout of this version")
    );
    assert_eq!(
        refused(&replaced(&whole, "\"footprint\":2", "\"footprint\":9")),
        format!(
            "{name}: version 9 of `footprint`, written by iostrata-analyze {}; expected version 2",
            env!("CARGO_PKG_VERSION")
        )
    );
    let header = header_bytes(&whole);
    let mut long = whole.clone();
    long[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(&long).contains(": not a file of partial results, expected one of "));
    for at in [header + 40, whole.len() / 3, whole.len() / 2, whole.len() - 60] {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(&file, &changed).expect("room");
        // A partial result with a changed id is never looked up.
        match written(&captures, Partials::From(vec![file.clone()]), 500) {
            Ok((_, merged)) => assert!(merged == fresh(&captures), "{at}"),
            Err(error) => assert!(error.starts_with(&name.to_string()) && !error.contains('\n'), "{error}"),
        }
    }
}

#[test]
fn a_cache_is_used_and_one_that_was_changed_is_read_anew() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("capture");
    copy(&fixture(), &directory);
    let captures = [directory];
    let whole = fresh(&captures);
    let analyzed = || written(&captures, Partials::Cached, 100).expect("a result");
    let (printed, first) = analyzed();
    assert!(first == whole && printed.contains("No partial result was reused; all events were read."), "{printed}");
    let (printed, again) = analyzed();
    assert!(again == whole && printed.contains(KEPT), "{printed}");
    let cache = place.path().join("capture.partials");
    let kept = cache.join("1.partial");
    let bytes = fs::read(&kept).expect("there");
    let (first_head, middle) = (header_bytes(&bytes), bytes.len() / 2);
    // In the partial results, and in the size of the first one.
    for at in [middle, first_head + 24, first_head + 26] {
        fs::remove_dir_all(&cache).expect("there");
        assert!(analyzed().1 == whole);
        let mut bytes = fs::read(&kept).expect("there");
        bytes[at] ^= 1;
        fs::write(&kept, &bytes).expect("room");
        let (printed, again) = analyzed();
        assert!(again == whole && !printed.contains(KEPT), "{at}: {printed}");
    }
    // A file of another build cannot be used.
    fs::write(cache.join("7.partial"), b"old").expect("room");
    assert!(analyzed().1 == whole);
    assert!(!cache.join("7.partial").exists());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a fresh place");
    for entry in fs::read_dir(from).expect("readable") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("readable");
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("room");
        }
    }
}

type Written = Result<Vec<(String, String)>, String>;

/// Returns the first line that differs.
fn difference(one: &Written, other: &Written) -> String {
    let (Ok(one), Ok(other)) = (one, other) else {
        return format!("{:?} {:?}", one.as_ref().err(), other.as_ref().err());
    };
    let lines = |files: &[(String, String)]| -> Vec<String> {
        files.iter().flat_map(|(name, text)| text.lines().map(move |line| format!("{name}: {line}"))).collect()
    };
    let (one, other) = (lines(one), lines(other));
    let first = one.iter().zip(&other).find(|(one, other)| one != other);
    first.map_or_else(|| format!("{} lines, {}", one.len(), other.len()), |(one, other)| format!("{one}\n{other}"))
}

/// Processes that appear during a recording, each with its time, id and index of its name.
fn processes() -> impl Strategy<Value = Vec<(i64, i32, usize)>> {
    prop::collection::vec((0i64..260, 1i32..5, 0usize..4), 0..8)
}

/// Returns a capture while it is written: a share of its calls, requests, processes and losses.
fn until(whole: &Capture, share: usize, of: usize) -> Capture {
    let first = |rows: usize| rows * share / of;
    let mut capture = Capture::empty(&whole.manifest.capture_id, Layer::ALL);
    capture.manifest.devices = whole.manifest.devices.clone();
    capture.rows_per_part = whole.rows_per_part;
    capture.syscall = whole.syscall[..first(whole.syscall.len())].to_vec();
    capture.fs = whole.fs[..first(whole.fs.len())].to_vec();
    capture.block = whole.block[..first(whole.block.len())].to_vec();
    capture.share = whole.share[..first(whole.share.len())].to_vec();
    capture.process = whole.process[..first(whole.process.len())].to_vec();
    capture.loss = whole.loss[..first(whole.loss.len())].to_vec();
    capture
}

#[test]
fn of_a_capture_that_has_grown_only_what_is_new_is_read() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("capture");
    let operations: Vec<_> = (0..400i64).map(|at| (10 * at, 7, at % 3 == 0, 1 + (at % 3) as i32, at % 16)).collect();
    let whole = crossing("grows", &operations, 20);
    let mut pieces = Vec::new();
    for step in 1..=4 {
        let _ = fs::remove_dir_all(&directory);
        let mut grown = until(&whole, step, 4);
        // The attribution of existing rows does not change.
        grown.process = whole.process.clone();
        grown.write(place.path(), "capture");
        let captures = [directory.clone()];
        let (printed, cached) = written(&captures, Partials::Cached, 4).expect("a result");
        assert!(cached == fresh(&captures), "step {step}");
        let line = printed.lines().find(|line| line.contains("reused")).expect("said").to_owned();
        let numbers = line.split(' ').filter_map(|word| word.parse::<u64>().ok());
        pieces.push(numbers.collect::<Vec<_>>());
    }
    let [none, rest @ ..] = pieces.as_slice() else { panic!("four steps") };
    assert!(none.is_empty());
    for (step, numbers) in rest.iter().enumerate() {
        let [found, all] = numbers[..] else { panic!("{numbers:?}") };
        // A half, two thirds, three quarters of it existed before; the end of each table is new as long as it grows.
        assert!(found * 10 >= all * [3, 5, 6][step] && found < all, "{pieces:?}");
    }
}

#[test]
fn why_nothing_is_kept_of_a_capture_that_was_cut_off_is_said() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let operations: Vec<_> = (0..40i64).map(|at| (10 * at, 7, at % 3 == 0, 1 + (at % 3) as i32, at % 16)).collect();
    let mut cut = crossing("cut", &operations, 1_000);
    cut.manifest.state = State::Recording;
    cut.torn = true;
    cut.write(place.path(), "capture");
    let captures = [place.path().join("capture")];
    let file = place.path().join("all.partial");
    let partials = Partials::To { share: (1, 1), file: file.clone(), from: Vec::new() };
    let mut printed = Vec::new();
    run(&Command::Partial(Box::new(report(&captures, None, partials, 20))), &mut printed, &mut Vec::new())
        .expect("a share");
    let said = String::from_utf8(printed).expect("UTF-8");
    let why = "the capture is not finished, and its results may change (`iostrata-analyze recover` repairs an interrupted one)";
    assert!(said.contains(": 0 partials, share 1 of 1.\n") && said.contains(&format!(" not kept: {why}.\n")), "{said}");
    let (said, merged) = written(&captures, Partials::From(vec![file]), 20).expect("a result");
    assert!(merged == fresh(&captures));
    assert!(said.contains(&format!("No partial result can be kept: {why}; all events were read.\n")), "{said}");
}

#[test]
fn what_is_left_out_at_the_end_of_a_capture_that_grows_is_read_again() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("capture");
    let operations: Vec<_> = (0..400i64).map(|at| (10 * at, 7, at % 3 == 0, 1 + (at % 3) as i32, at % 16)).collect();
    let mut grown = crossing("grows", &operations, 20);
    grown.manifest.state = State::Recording;
    let captures = [directory.clone()];
    for until_ns in [1_000, 2_000, 3_000, i64::MAX] {
        let _ = fs::remove_dir_all(&directory);
        grown.whole_until_ns = Some(until_ns);
        grown.write(place.path(), "capture");
        let (printed, cached) = written(&captures, Partials::Cached, 20).expect("a result");
        assert!(cached == fresh(&captures), "until {until_ns}");
        let again = written(&captures, Partials::Cached, 20).expect("a result");
        assert!(again.1 == cached && printed.contains("events"), "until {until_ns}");
    }
    // Once it is known that it no longer grows, all of it is kept.
    grown.manifest.state = State::Recovered;
    (grown.manifest.whole_until_ns, grown.whole_until_ns) = (Some(2_000), None);
    let _ = fs::remove_dir_all(&directory);
    grown.write(place.path(), "capture");
    let (_, cached) = written(&captures, Partials::Cached, 20).expect("a result");
    let (printed, again) = written(&captures, Partials::Cached, 20).expect("a result");
    assert!(cached == again && printed.contains(KEPT), "{printed}");
}

/// Writes a capture of another machine: with the same numbers of processes, files and disks.
fn of_host(place: &Path, host: &str, operations: &[(i64, i64, bool, i32, i64)]) -> PathBuf {
    let mut capture = crossing(host, operations, 20);
    capture.manifest.host.hostname = host.to_owned();
    capture.write(place, host)
}

/// Returns the results, with the directories of `captures` as they are in those of files.
fn named_by_host(files: Vec<(String, String)>, captures: &[(&str, &Path)]) -> Vec<(String, String)> {
    let named = |text: String| {
        captures.iter().fold(text, |text, (host, directory)| {
            let directory = directory.display().to_string();
            text.replace(&directory, &format!("{host}:{directory}"))
        })
    };
    files.into_iter().map(|(name, text)| (name, named(text))).collect()
}

#[test]
fn files_of_captures_of_several_machines_are_merged_without_the_captures() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let operations = |of: i64| -> Vec<_> {
        (0..200i64).map(|at| (10 * at + of, 7 + of, at % 3 == 0, 1 + (at % 3) as i32, (at * of) % 16)).collect()
    };
    let hosts: Vec<(&str, PathBuf)> =
        [("db1", 1), ("db2", 5)].map(|(host, of)| (host, of_host(place.path(), host, &operations(of)))).into();
    let captures: Vec<PathBuf> = hosts.iter().map(|(_, directory)| directory.clone()).collect();
    let whole = fresh(&captures);
    let mut files = Vec::new();
    for (host, directory) in &hosts {
        let own = place.path().join(format!("{host}-partials"));
        fs::create_dir(&own).expect("room");
        files.extend((1..=3).map(|share| partial(&own, std::slice::from_ref(directory), (share, 3), 37)));
    }
    // Where the files are, the captures are not.
    captures.iter().for_each(|directory| fs::remove_dir_all(directory).expect("there"));
    let (printed, merged) = written(&[], Partials::From(files.clone()), 37).expect("a result");
    let directories: Vec<(&str, &Path)> = hosts.iter().map(|(host, directory)| (*host, directory.as_path())).collect();
    let whole = named_by_host(whole, &directories);
    assert!(merged == whole, "{}", difference(&Ok(merged), &Ok(whole)));
    assert!(printed.contains(KEPT), "{printed}");
    let missing = written(&[], Partials::From(files[..5].to_vec()), 37).expect_err("a share is missing");
    let expected = format!("db2:{}: ", captures[1].display());
    assert!(missing.starts_with(&expected) && missing.contains(" are in none of the files, expected"), "{missing}");
}

/// Returns the error of a merge.
fn refusal(captures: &[PathBuf], files: &[PathBuf]) -> String {
    written(captures, Partials::From(files.to_vec()), 37).expect_err("refused")
}

#[test]
fn what_would_be_no_report_on_all_captures_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let operations: Vec<_> = (0..100i64).map(|at| (10 * at, 7, at % 3 == 0, 1 + (at % 3) as i32, at % 16)).collect();
    let one = of_host(place.path(), "db1", &operations);
    let mut other = crossing("db2", &operations, 20);
    other.manifest.layers.entry(Layer::Vfs).and_modify(|state| state.captured = false);
    let other = other.write(place.path(), "db2");
    let own = |name: &str, captures: &[PathBuf], share| {
        let place = place.path().join(format!("{name}-partials"));
        fs::create_dir(&place).expect("room");
        partial(&place, captures, share, 37)
    };
    let (of_one, of_other) =
        (own("db1", std::slice::from_ref(&one), (1, 1)), own("db2", std::slice::from_ref(&other), (1, 1)));
    // A layer that one of them lacks is in no result of both.
    let refused = refusal(&[], &[of_one.clone(), of_other.clone()]);
    assert!(
        refused.contains("db1")
            && refused.contains("have the layers syscall, vfs, fs, block, expected syscall, fs, block"),
        "{refused}"
    );
    let refused = refusal(std::slice::from_ref(&one), &[of_one.clone(), of_other]);
    assert!(refused.contains(&format!("has also the capture {}", other.display())), "{refused}");
    // Another path to the same capture is no other state of it.
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&one, &link).expect("room");
    let files = [own("first", std::slice::from_ref(&one), (1, 2)), own("second", &[link], (2, 2))];
    let (printed, merged) = written(&[], Partials::From(files.to_vec()), 37).expect("a result");
    assert!(merged == fresh(&[one]) && printed.contains(KEPT), "{printed}");
    // A document that is not found would leave out its capture.
    let whole = fs::read(&of_one).expect("there");
    let at = whole.windows(16).position(|bytes| bytes == b"part-00000000000").expect("a part");
    let mut changed = whole.clone();
    changed[at + 15] = b'9';
    fs::write(&of_one, changed).expect("room");
    assert!(refusal(&[], &[of_one]).contains(" is missing, expected a copy of it"));
}

#[test]
fn a_real_capture_is_merged_without_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("capture");
    copy(&fixture(), &directory);
    let captures = [directory.clone()];
    let whole = fresh(&captures);
    let files: Vec<PathBuf> = (1..=2).map(|share| partial(place.path(), &captures, (share, 2), 100)).collect();
    fs::remove_dir_all(&directory).expect("there");
    let (_, merged) = written(&[], Partials::From(files.clone()), 100).expect("a result");
    assert!(merged == whole, "{}", difference(&Ok(merged), &Ok(whole)));
    // Options determine the results: those of other options are none.
    let other = Analyze {
        precision: Precision::Exact,
        ..report(&[], Some(place.path().join("out")), Partials::From(files), 100)
    };
    let refused = run(&Command::Analyze(Box::new(other)), &mut Vec::new(), &mut Vec::new()).expect_err("other options");
    assert!(message(&refused).contains("made with the same analysis and options"), "{}", message(&refused));
}

#[test]
fn shares_of_different_states_of_a_capture_are_not_merged_without_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let operations: Vec<_> = (0..100i64).map(|at| (10 * at, 7, at % 3 == 0, 1 + (at % 3) as i32, at % 16)).collect();
    let whole = crossing("grows", &operations, 20);
    let directory = place.path().join("capture");
    let mut files = Vec::new();
    for (share, capture) in [(1, until(&whole, 1, 2)), (2, whole.clone())] {
        let _ = fs::remove_dir_all(&directory);
        capture.write(place.path(), "capture");
        files.push(partial(place.path(), std::slice::from_ref(&directory), (share, 2), 37));
    }
    let [one, two] = [0, 1].map(|at| files[at].display().to_string());
    let refused = written(&[], Partials::From(files.clone()), 37).expect_err("two states");
    assert_eq!(
        refused,
        format!(
            "{one} and {two} have shares of different states of {}, expected all of one state, made with the same options",
            directory.display()
        )
    );
    // With the capture, the events that no file has are read.
    let (_, merged) = written(std::slice::from_ref(&directory), Partials::From(files), 37).expect("a result");
    assert!(merged == fresh(&[directory]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_shares_of_any_capture_merged_in_any_order_are_the_same(
        operations in operations(),
        stretch_rows in 1u64..20,
        rows_per_part in 1usize..30,
        shares in 1u64..6,
        order in prop::collection::vec(any::<Index>(), 1..8),
    ) {
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut one = crossing("one", &operations, rows_per_part);
        one.torn = stretch_rows % 3 == 0;
        let captures = [one.write(place.path(), "one"), capture("two", &operations, rows_per_part).write(place.path(), "two")];
        let files: Vec<PathBuf> =
            (1..=shares).map(|share| partial(place.path(), &captures, (share, shares), stretch_rows)).collect();
        // Some of the files repeatedly, some not at all.
        let files = order.iter().map(|index| index.get(&files).clone()).collect();
        let (_, merged) = written(&captures, Partials::From(files), stretch_rows).expect("a result");
        let whole = fresh(&captures);
        prop_assert!(merged == whole);
    }

    #[test]
    fn a_capture_that_grows_is_told_as_if_it_were_read_at_once(
        operations in operations(),
        processes in processes(),
        losses in prop::collection::vec((0i64..250, 1i64..50), 0..4),
        stretch_rows in 1u64..20,
        rows_per_part in 1usize..20,
        steps in 2usize..5,
    ) {
        let mut operations = operations;
        operations.sort_by_key(|(ts_ns, dur_ns, ..)| ts_ns + dur_ns);
        let mut whole = crossing("grows", &operations, rows_per_part);
        for (ts_ns, pid, name) in processes {
            let name = ["etcd", "dd", "minio", "postgres"][name];
            whole.process(ts_ns, pid, name, Some(&format!("/usr/bin/{name}")));
        }
        for (since_ns, ns) in losses {
            whole.loss((since_ns, since_ns + ns), "block", "ring_full", 1);
        }
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = place.path().join("capture");
        for step in 1..=steps {
            let _ = fs::remove_dir_all(&directory);
            let mut grown = until(&whole, step, steps);
            grown.torn = step < steps && stretch_rows % 2 == 0;
            if grown.syscall.is_empty() || grown.block.len() < 2 {
                continue;
            }
            grown.write(place.path(), "capture");
            let captures = [directory.clone()];
            let expected = written(&captures, Partials::None, u64::MAX).map(|(_, files)| files);
            let cached = written(&captures, Partials::Cached, stretch_rows).map(|(_, files)| files);
            prop_assert!(cached == expected, "step {step}: {}", difference(&cached, &expected));
            // What was computed again, because names have changed, is found the next time beside what it replaces.
            let again = written(&captures, Partials::Cached, stretch_rows);
            let is_kept = again.as_ref().map_or(true, |(printed, _)| grown.torn || printed.contains(KEPT));
            prop_assert!(is_kept, "step {step}: {again:?}");
        }
    }
}
