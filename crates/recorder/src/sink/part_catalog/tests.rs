use std::fs;
use std::path::Path;

use iostrata_capture::TableId;

use super::*;

fn dir(path: &Path) -> Dir {
    Dir::open(path).expect("there")
}

fn part(number: u32) -> Part {
    let name = PartName { table: TableId::Block, number };
    Part { name, rows: 1, bytes: 100, first_ts_ns: None, last_ts_ns: Some(i64::from(number)) }
}

/// A part that is on the disk.
fn finished(directory: &Path, number: u32) -> Part {
    let part = part(number);
    fs::write(part.name.path(directory), [0; 100]).expect("room");
    part
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(place.path().join("block")).expect("a fresh place");
    place
}

/// Parts finished in each round.
const PARTS: u32 = 100;

/// Bytes that this thread has written so far, as counted by the kernel.
fn written() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").expect("the kernel's counters of a thread");
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("what was written");
    line.parse().expect("a number")
}

/// Returns the bytes written by `rounds` rounds. Each one finishes some parts and may remove as many.
fn written_by(rounds: u32, most: Option<u64>) -> u64 {
    let place = place();
    let mut shelf = PartCatalog::create(&dir(place.path()), most.is_some()).expect("a fresh place");
    let before = written();
    for round in 0..rounds {
        for number in 1..=PARTS {
            shelf.add(part(round * PARTS + number));
            if most.is_some_and(|most| shelf.size().bytes > most) {
                assert!(shelf.take_off_oldest(u64::MAX));
            }
        }
        shelf.save().expect("room");
    }
    let list = PartList::read(&dir(place.path())).expect("a list");
    assert_eq!(Size { parts: list.len(), bytes: list.bytes() }, shelf.size());
    let gone: u64 = list.removed().map(|removed| removed.parts).sum();
    assert_eq!(shelf.size().parts + gone, u64::from(rounds * PARTS));
    written() - before
}

#[test]
fn what_a_round_writes_does_not_grow_with_the_rounds_before_it() {
    for most in [None, Some(10_000), Some(100_000)] {
        let [few, many] = [40, 80].map(|rounds| written_by(rounds, most));
        assert!(2 * many < 5 * few && many < 300 * u64::from(80 * PARTS), "{most:?}: {few} and {many} bytes");
    }
}

#[test]
fn a_part_goes_after_the_list_has_told_of_it_and_the_list_becomes_shorter() {
    let place = place();
    let mut shelf = PartCatalog::create(&dir(place.path()), true).expect("a fresh place");
    (1..=1_500).for_each(|number| shelf.add(finished(place.path(), number)));
    shelf.save().expect("room");
    let full = shelf.bytes();
    (0..1_400).for_each(|_| assert!(shelf.take_off_oldest(u64::MAX)));
    assert_eq!(fs::read_dir(place.path().join("block")).expect("a folder").count(), 1_500);
    assert_eq!(shelf.size(), Size { parts: 100, bytes: 10_000 });
    shelf.save().expect("room");
    assert_eq!(fs::read_dir(place.path().join("block")).expect("a folder").count(), 100);
    let length = fs::metadata(place.path().join("parts.jsonl")).expect("a list").len();
    assert!(length < 100 * 150 + 200 && shelf.bytes() == 10_000 + 2 * length + MANIFEST_BYTES, "{length}");
    assert!(shelf.bytes() < full - 140_000);

    // The next recording continues with the list.
    let mut again = PartCatalog::open(&dir(place.path())).expect("a list");
    assert_eq!((again.size(), again.bytes()), (shelf.size(), shelf.bytes()));
    assert!(again.take_off_oldest(u64::MAX));
    again.save().expect("room");
    assert!(!part(1_401).name.path(place.path()).exists() && part(1_402).name.path(place.path()).exists());
}

#[test]
fn nothing_is_removed_and_nothing_forgotten_while_the_list_cannot_be_written() {
    let place = place();
    let mut shelf = PartCatalog::create(&dir(place.path()), true).expect("a fresh place");
    (1..=3).for_each(|number| shelf.add(finished(place.path(), number)));
    shelf.save().expect("room");
    let (list, away) = (place.path().join("parts.jsonl"), place.path().join("away"));
    fs::rename(&list, &away).expect("there");
    shelf.add(finished(place.path(), 4));
    assert!(shelf.take_off_oldest(u64::MAX));
    for _ in 0..2 {
        let error = shelf.save().expect_err("no list");
        assert!(
            error.to_string().ends_with("parts.jsonl: cannot open: No such file or directory (os error 2)"),
            "{error}"
        );
        assert!(part(1).name.path(place.path()).exists());
    }
    fs::rename(&away, &list).expect("there");
    shelf.save().expect("room");
    assert!(!part(1).name.path(place.path()).exists());
    assert_eq!(PartList::read(&dir(place.path())).expect("a list").parts().count(), 3);
}

#[test]
fn without_a_ring_there_is_no_memory_for_parts() {
    let place = place();
    let mut shelf = PartCatalog::create(&dir(place.path()), false).expect("a fresh place");
    (1..=9).for_each(|number| shelf.add(part(number)));
    shelf.save().expect("room");
    assert_eq!(shelf.size(), Size { parts: 9, bytes: 900 });
    assert!(shelf.ring.is_none() && shelf.unsaved.is_empty() && !shelf.take_off_oldest(0));
}
