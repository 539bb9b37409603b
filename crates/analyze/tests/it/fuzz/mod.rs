//! Runs the analyzer on every input of the fuzzing corpus, and on every one that it ever failed on: each in bounded time and memory, without a
//! panic of the analyzer.
//!
//! A watched process with little memory runs the inputs, because the failures in question would end the test process.
#![allow(clippy::disallowed_macros, reason = "for developers")]

#[path = "../../../../../fuzz/src/inputs.rs"]
mod inputs;
mod seeds;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{env, fs};

use inputs::{KINDS, Stage};

/// Time limit of one input; most take milliseconds.
const MOST_TIME: Duration = Duration::from_secs(20);

/// Address space of the process, in KiB. It has about 300 MiB before the first input.
const MOST_KIB: &str = "2097152";

/// Environment variable with the kind of inputs.
const KIND: &str = "IOSTRATA_FUZZ_KIND";

/// Prefix of the name of the next input.
const NEXT: &str = "input: ";

/// Returns the inputs of `kind` on disk: the corpus, and those of past failures.
fn kept(kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut inputs = Vec::new();
    for place in ["corpus", "found"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(place).join(kind);
        let entries = fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.expect("readable").path());
        let mut paths: Vec<PathBuf> = entries.collect();
        paths.sort();
        inputs.extend(paths.into_iter().map(|path| (path.display().to_string(), fs::read(&path).expect("readable"))));
    }
    inputs
}

/// Not a test: the tests below run it in another process.
#[test]
#[ignore = "run by the other tests of this file"]
fn go_through() {
    let kind = env::var(KIND).expect("a kind of input");
    let stage = Stage::new().expect("a place for temporary files");
    let say = |name: &str| eprintln!("{NEXT}{name}");
    match kind.as_str() {
        "a panic" => {
            say("one");
            // The analyzer itself would turn this panic into an error.
            let _ = iostrata_capture::panic_guard::reading(Path::new("part"), || -> iostrata_capture::Result<()> {
                panic!("one")
            });
        }
        "memory" => {
            say("one");
            drop(std::hint::black_box(vec![1u8; 3 << 30]));
        }
        "time" => {
            say("one");
            loop {
                std::thread::park();
            }
        }
        kind => {
            let (_, run) = KINDS.iter().find(|(name, _)| *name == kind).expect("a known kind");
            for (name, input) in seeds::of(kind).into_iter().chain(kept(kind)) {
                say(&name);
                run(&stage, &input);
            }
        }
    }
    eprintln!("{NEXT}");
}

/// Runs all inputs of `kind`, each within `most_time`. Returns their number, or the failure.
fn watched(kind: &str, most_time: Duration) -> Result<usize, String> {
    let program = env::current_exe().expect("this program");
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -c 0 && ulimit -v \"$0\" && exec \"$@\"", MOST_KIB])
        .arg(program)
        .args(["--exact", "fuzz::go_through", "--ignored", "--nocapture", "--test-threads=1"])
        // Each thread would take its own address space.
        .envs([(KIND, kind), ("POLARS_MAX_THREADS", "1"), ("MALLOC_ARENA_MAX", "1"), ("RUST_BACKTRACE", "0")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let said = BufReader::new(child.stderr.take().expect("a pipe"));
    let (send, lines) = channel();
    let reader = std::thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let (mut current, mut count, mut rest) = (String::from("nothing yet"), 0, String::new());
    let ended = loop {
        match lines.recv_timeout(most_time) {
            Ok(line) => match line.strip_prefix(NEXT) {
                Some("") => break Ok(count),
                Some(name) => (current, count) = (name.to_owned(), count + 1),
                None => rest.extend([line.as_str(), "\n"]),
            },
            Err(RecvTimeoutError::Timeout) => break Err(format!("{current}: longer than {most_time:?}")),
            Err(RecvTimeoutError::Disconnected) => break Err(format!("{current}: {rest}")),
        }
    };
    let _ = child.kill();
    child.wait().expect("a child");
    let _ = reader.join().expect("no panic");
    ended
}

fn nothing_is_found(kind: &str) {
    let count = watched(kind, MOST_TIME);
    assert!(count.as_ref().is_ok_and(|count| *count >= 3), "{count:?}");
}

#[test]
fn manifests() {
    nothing_is_found("manifest");
}

#[test]
fn lists_of_parts() {
    nothing_is_found("list");
}

#[test]
fn logs_of_parts_that_were_never_finished() {
    nothing_is_found("sidecar");
}

#[test]
fn files_of_partials() {
    nothing_is_found("partial");
}

#[test]
fn traces_that_are_imported() {
    nothing_is_found("import");
}

#[test]
fn rules() {
    nothing_is_found("rules");
}

#[test]
fn parts() {
    nothing_is_found("parquet");
}

#[test]
fn a_panic_too_much_memory_and_too_much_time_are_noticed() {
    for (kind, expected) in [("a panic", "one: "), ("memory", "allocation"), ("time", "longer than")] {
        let found = watched(kind, Duration::from_secs(3)).expect_err(kind);
        assert!(found.starts_with("one: ") && found.contains(expected), "{kind}: {found}");
    }
}

/// Writes the seeds into the directory that `IOSTRATA_FUZZ_SEEDS` names, for `make fuzz`.
#[test]
#[ignore = "run by scripts/fuzz.sh"]
fn write_seeds() {
    let directory = PathBuf::from(env::var_os("IOSTRATA_FUZZ_SEEDS").expect("a directory"));
    for (kind, _) in KINDS {
        fs::create_dir_all(directory.join(kind)).expect("writable");
        for (name, input) in seeds::of(kind) {
            fs::write(directory.join(kind).join(name), input).expect("room");
        }
    }
}
