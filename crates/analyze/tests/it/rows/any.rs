//! Any parts of a capture are missing, duplicated, or in place of others.

use std::fs;
use std::path::{Path, PathBuf};

use iostrata_capture::dir::Dir;
use iostrata_capture::list::{self, Entry};
use proptest::prelude::*;

use super::{admit, capture, part, unlist, unmarked, written};
use crate::support::run_text;

/// Change of a part.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Kept,
    Removed,
    Copied,
    Replaced,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![3 => Just(Fate::Kept), 1 => Just(Fate::Removed), 1 => Just(Fate::Copied), 1 => Just(Fate::Replaced)];
    // All parts of three tables of events.
    proptest::collection::vec(fate, 9)
        .prop_filter("something is done", |fates| fates.iter().any(|fate| !matches!(fate, Fate::Kept)))
}

/// All parts with rows of events.
fn parts(run: &Path) -> Vec<(PathBuf, String)> {
    let mut parts = Vec::new();
    for table in ["syscall", "vfs", "block"] {
        for number in 1..=3 {
            let name = part(table, number);
            let path = run.join(&name);
            parts.extend(path.exists().then_some((path, name)));
        }
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_global_rejects: 0, ..ProptestConfig::default() })]

    #[test]
    fn whatever_parts_are_gone_or_there_twice_it_is_never_good(fates in fates(), listed: bool, says: bool) {
        let place = written(&if says { capture() } else { unmarked() }, |run| {
            let parts = parts(run);
            assert!(parts.len() == 9, "{parts:?}");
            for (number, ((path, name), fate)) in parts.iter().zip(&fates).enumerate() {
                let (table, _) = name.split_once('/').expect("a folder");
                match fate {
                    Fate::Kept => {}
                    Fate::Removed => {
                        fs::remove_file(path).expect("there");
                        if listed {
                            unlist(run, name);
                        }
                    }
                    Fate::Copied => {
                        let copy = part(table, 10 + number as u32);
                        fs::copy(path, run.join(&copy)).expect("room");
                        if listed {
                            let rows = fs::read(path).map(|_| rows_in(run, name)).expect("there");
                            admit(run, &copy, rows);
                        }
                    }
                    Fate::Replaced => {
                        // By a part of another table, which may have the same number of rows.
                        let other = if table == "vfs" { "syscall" } else { "vfs" };
                        let from = run.join(part(other, 3));
                        if !from.exists() || fs::copy(from, path).is_err() {
                            fs::remove_file(path).expect("there");
                        } else if listed {
                            admit(run, name, rows_in(run, name));
                        }
                    }
                }
            }
        });
        let (code, out, err) = run_text(place.path(), &["quality", "run1"]);
        // A part of another table without an identity may have the same number of rows: then it cannot be read.
        let is_refused = code == 1 && err.lines().count() == 1;
        prop_assert!(is_refused || code == 3 && out.contains("bad"), "{code}: {out}{err}");
        prop_assert!(!out.contains("Verdict: reliable"), "{out}");
    }
}

/// Returns the number of rows of a part in the list.
fn rows_in(run: &Path, name: &str) -> u64 {
    let mut rows = 0;
    list::read(&Dir::open(run).expect("there"), |entry| {
        if let Entry::Finished(part) = entry
            && part.name.to_string() == name
        {
            rows = part.rows;
        }
        Ok(())
    })
    .expect("a list");
    rows
}
