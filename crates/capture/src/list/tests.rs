use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn dir(path: &Path) -> Dir {
    Dir::open(path).expect("there")
}

fn name(table: TableId, number: u32) -> PartName {
    PartName { table, number }
}

fn part(table: TableId, number: u32, bytes: u64, last_ts_ns: Option<i64>) -> Part {
    Part { name: name(table, number), rows: 10, bytes, first_ts_ns: last_ts_ns.map(|ts_ns| ts_ns - 1), last_ts_ns }
}

fn finished(number: u32) -> Entry {
    Entry::Finished(part(TableId::Block, number, u64::from(number), Some(i64::from(number))))
}

/// A directory with a list of `entries`.
fn listed(entries: &[Entry]) -> (tempfile::TempDir, ListFile) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut file = ListFile::create(&dir(place.path())).expect("a fresh place");
    file.append(entries).expect("room");
    (place, file)
}

fn text(place: &Path) -> String {
    fs::read_to_string(place.join(FILE_NAME)).expect("a list")
}

fn folded(entries: &[Entry]) -> PartList {
    let mut list = PartList::default();
    entries.iter().for_each(|entry| list.take(entry.clone()).expect("in order"));
    list
}

fn error(place: &Path) -> String {
    let error = PartList::read(&dir(place)).expect_err("not a list").to_string();
    error.strip_prefix(&format!("{}/", place.display())).expect("the path").to_owned()
}

#[test]
fn each_part_has_a_line_when_it_is_finished_and_one_when_it_goes() {
    let (place, mut file) = listed(&[finished(1), finished(2)]);
    file.append(&[Entry::Removed(name(TableId::Block, 1))]).expect("room");
    insta::assert_snapshot!(text(place.path()), @r#"
    {"finished":{"table":"block","file":"block/part-000001.parquet","rows":10,"bytes":1,"first_ts_ns":0,"last_ts_ns":1}}
    {"finished":{"table":"block","file":"block/part-000002.parquet","rows":10,"bytes":2,"first_ts_ns":1,"last_ts_ns":2}}
    {"removed":"block/part-000001.parquet"}
    "#);
    let list = PartList::read(&dir(place.path())).expect("a list");
    assert_eq!((list.len(), list.bytes(), list.last_ts_ns(), list.removed_until_ns()), (1, 2, Some(2), Some(1)));
    assert_eq!(file.bytes(), text(place.path()).len() as u64);
}

#[test]
fn the_oldest_events_go_first_and_names_stay_while_they_are_few() {
    let mut list = PartList::default();
    for part in [
        part(TableId::Process, 1, 30, Some(1)),
        part(TableId::Block, 1, 50, Some(7)),
        part(TableId::Syscall, 1, 60, Some(5)),
        part(TableId::Syscall, 2, 70, None),
        part(TableId::File, 1, 20, Some(2)),
    ] {
        list.take(Entry::Finished(part)).expect("new");
    }
    assert_eq!(list.removed_until_ns(), None);
    let mut gone = Vec::new();
    while let Some(name) = list.oldest(50) {
        gone.push(list.remove(name).expect("there").bytes);
    }
    assert_eq!(gone, [60, 70, 50]);
    assert_eq!((list.removed_until_ns(), list.bytes()), (Some(7), 50));
    let syscall = Removed { table: TableId::Syscall, parts: 2, rows: 20, bytes: 130, last_ts_ns: Some(5) };
    assert_eq!(list.removed().next(), Some(syscall));
    // Above the limit, references are removed.
    assert_eq!(list.oldest(49), Some(name(TableId::Process, 1)));
    list.remove(name(TableId::Process, 1)).expect("there");
    assert_eq!(list.removed_until_ns(), Some(7), "an event lacks nothing but a name");
}

#[test]
fn a_last_line_that_was_cut_off_anywhere_is_left_out_and_cut_off_by_the_next_append() {
    let (place, _) = listed(&[finished(1), finished(2)]);
    let path = place.path().join(FILE_NAME);
    let whole = text(place.path());
    for end in 0..=whole.len() {
        fs::write(&path, &whole[..end]).expect("room");
        let lines = whole[..end].matches('\n').count() as u32;
        let expected = folded(&(1..=lines).map(finished).collect::<Vec<_>>());
        assert_eq!(PartList::read(&dir(place.path())).expect("a list"), expected, "{end}");
        let mut file = ListFile::open(&dir(place.path()), |_| Ok(())).expect("a list");
        file.append(&[finished(7)]).expect("room");
        let expected: Vec<Entry> = (1..=lines).chain([7]).map(finished).collect();
        assert_eq!(PartList::read(&dir(place.path())).expect("a list"), folded(&expected), "{end}");
    }
    // What a file system may show of a block that never reached the disk.
    fs::write(&path, whole.clone() + "{\"fin\0\0\0\0").expect("room");
    assert_eq!(PartList::read(&dir(place.path())).expect("a list").len(), 2);
}

#[test]
fn a_line_that_is_none_is_named_with_its_number_and_what_was_expected() {
    let (place, _) = listed(&[finished(1), finished(2), finished(3)]);
    let whole = text(place.path());
    let second = whole.lines().nth(1).expect("three lines");
    let told = |line: &str| {
        fs::write(place.path().join(FILE_NAME), whole.replace(second, line)).expect("room");
        error(place.path())
    };
    let expected = "expected an entry of the list of parts";
    assert_eq!(told(""), format!("parts.jsonl:2: EOF while parsing a value at column 0, {expected}"));
    assert_eq!(told(&second[..40]), format!("parts.jsonl:2: EOF while parsing a string at column 40, {expected}"));
    assert_eq!(told("\0\0"), format!("parts.jsonl:2: expected value at column 1, {expected}"));
    let known = "expected one of `finished`, `replacing`, `removed`, `removed_sum`";
    assert_eq!(told(r#"{"lost":1}"#), format!("parts.jsonl:2: unknown variant `lost`, {known}"));
    assert_eq!(told(r#"{"finished":{"table":"block"}}"#), "parts.jsonl:2: missing field `file`");
    let sum = r#"{"removed_sum":{"table":"blocks","parts":1,"rows":7,"bytes":9404,"last_ts_ns":9}}"#;
    assert!(
        told(sum).starts_with("parts.jsonl:2: unknown table \"blocks\", expected one of syscall, vfs"),
        "{}",
        told(sum)
    );
    let other = second.replace("\"table\":\"block\"", "\"table\":\"vfs\"");
    let what = r#""block/part-000002.parquet" is not in table "vfs", expected a part of this table"#;
    assert_eq!(told(&other), format!("parts.jsonl:2: {what}"));
    let twice = "block/part-000001.parquet was finished, expected a new part";
    assert_eq!(told(whole.lines().next().expect("a line")), format!("parts.jsonl:2: {twice}"));
    let absent = "block/part-000003.parquet was removed, expected an existing part";
    assert_eq!(told(r#"{"removed":"block/part-000003.parquet"}"#), format!("parts.jsonl:2: {absent}"));
    assert_eq!(
        told(&"x".repeat(1 << 20)),
        "parts.jsonl:2: has 65536 bytes or more, expected less",
        "and no more than that is read of it"
    );
}

#[test]
fn what_was_removed_stays_in_sums_when_its_lines_go() {
    let mut entries: Vec<Entry> = (1..=9).map(finished).collect();
    entries.extend((1..=6).map(|number| Entry::Removed(name(TableId::Block, number))));
    let (place, mut file) = listed(&entries);
    let list = folded(&entries);
    fs::write(place.path().join(".parts.jsonl.tmp"), "of an earlier attempt").expect("room");
    file.rewrite(&list, &[finished(20)]).expect("room");
    let mut expected = list;
    expected.take(finished(20)).expect("new");
    assert_eq!(PartList::read(&dir(place.path())).expect("a list"), expected);
    insta::assert_snapshot!(text(place.path()).lines().next().expect("sums"), @r#"{"removed_sum":{"table":"block","parts":6,"rows":60,"bytes":21,"last_ts_ns":6}}"#);
    // The reported size is exact, and the times that are not in memory are kept.
    assert_eq!(file.bytes(), text(place.path()).len() as u64);
    assert_eq!(text(place.path()).matches("\"first_ts_ns\":6").count(), 1);
    file.append(&[finished(21), Entry::Removed(name(TableId::Block, 7))]).expect("room");
    assert_eq!(PartList::read(&dir(place.path())).expect("a list").removed_until_ns(), Some(7));
    assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1);
}

#[test]
fn an_append_that_failed_half_way_leaves_a_list_and_is_made_up_for() {
    let entries = [finished(2), finished(3)];
    let second = serde_json::to_string(&finished(2)).expect("a line");
    // Half a line; a complete one of unknown durability, and half of the next.
    for left in [second[..9].to_owned(), second + "\n{\"finished\""] {
        let (place, mut file) = listed(&[finished(1)]);
        let (path, away) = (place.path().join(FILE_NAME), place.path().join("away"));
        fs::rename(&path, &away).expect("there");
        file.append(&entries).expect_err("no list");
        fs::write(&path, fs::read_to_string(&away).expect("a list") + &left).expect("room");
        assert!(PartList::read(&dir(place.path())).is_ok());
        file.append(&entries).expect("room");
        assert_eq!(
            PartList::read(&dir(place.path())).expect("a list"),
            folded(&[finished(1), finished(2), finished(3)])
        );
    }
}

#[test]
fn what_is_not_the_list_that_was_written_is_not_written_to() {
    let (place, mut file) = listed(&[finished(1)]);
    let path = place.path().join(FILE_NAME);
    fs::write(&path, "").expect("room");
    let error = file.append(&[finished(2)]).expect_err("another list").to_string();
    assert!(error.ends_with("has 0 bytes, expected 117: truncated or modified"), "{error}");
    let other = place.path().join("other");
    fs::write(&other, "mine").expect("room");
    fs::remove_file(&path).expect("there");
    std::os::unix::fs::symlink(&other, &path).expect("room");
    let error = file.append(&[finished(2)]).expect_err("a link").to_string();
    assert!(error.ends_with("is not a regular file, expected one"), "{error}");
    assert_eq!(fs::read_to_string(&other).expect("there"), "mine");
}

/// Event in the life of a list.
#[derive(Debug, Clone)]
enum Event {
    /// Parts of some tables are finished.
    Round(Vec<(usize, i64)>),
    /// The oldest part is removed.
    Remove,
    /// A crash leaves the first bytes of the next line.
    Crash(usize),
    /// The lines of removed parts are dropped.
    Shorten,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => prop::collection::vec((0usize..3, 0i64..1000), 0..4).prop_map(Event::Round),
        3 => Just(Event::Remove),
        1 => (0usize..80).prop_map(Event::Crash),
        1 => Just(Event::Shorten),
    ];
    prop::collection::vec(event, 0..40)
}

proptest! {
    // Each of some twenty events is synced.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Compares the list with a plain record of existing and removed parts.
    #[test]
    fn lines_come_to_what_has_happened(events in events()) {
        let tables = [TableId::Syscall, TableId::Block, TableId::File];
        let (place, mut file) = listed(&[]);
        let (mut list, mut numbers) = (PartList::default(), [0; 3]);
        let (mut there, mut gone): (Vec<Part>, Vec<Part>) = Default::default();
        for event in events {
            match event {
                Event::Round(parts) => {
                    let mut finish = |(table, ts_ns): (usize, i64)| {
                        numbers[table] += 1;
                        part(tables[table], numbers[table], ts_ns as u64, Some(ts_ns))
                    };
                    let new: Vec<Part> = parts.into_iter().map(&mut finish).collect();
                    let entries: Vec<Entry> = new.iter().cloned().map(Entry::Finished).collect();
                    file.append(&entries).expect("room");
                    entries.into_iter().for_each(|entry| list.take(entry).expect("new"));
                    there.extend(new);
                }
                Event::Remove => {
                    let Some(name) = list.oldest(u64::MAX) else { continue };
                    file.append(&[Entry::Removed(name)]).expect("room");
                    list.remove(name).expect("there");
                    gone.push(there.remove(there.iter().position(|part| part.name == name).expect("there")));
                }
                Event::Crash(bytes) => {
                    let next = serde_json::to_string(&finished(999)).expect("a line");
                    fs::write(place.path().join(FILE_NAME), text(place.path()) + &next[..bytes]).expect("room");
                    list = PartList::default();
                    file = ListFile::open(&dir(place.path()), |entry| list.take(entry)).expect("a list");
                }
                Event::Shorten => file.rewrite(&list, &[]).expect("room"),
            }
            let read = PartList::read(&dir(place.path())).expect("a list");
            prop_assert_eq!(&read, &list);
            there.sort_by_key(|part| part.name);
            let kept = |part: &Part| (part.name, Kept { rows: part.rows, bytes: part.bytes, replaced_bytes: None, last_ts_ns: part.last_ts_ns });
            let kept: Vec<(PartName, Kept)> = there.iter().map(kept).collect();
            prop_assert_eq!(read.parts().map(|(name, part)| (name, *part)).collect::<Vec<_>>(), kept);
            prop_assert_eq!(read.bytes(), there.iter().map(|part| part.bytes).sum::<u64>());
            for removed in read.removed() {
                let of: Vec<&Part> = gone.iter().filter(|part| part.name.table == removed.table).collect();
                let sums = (of.len() as u64, of.iter().map(|part| part.rows).sum(), of.iter().map(|part| part.bytes).sum());
                prop_assert_eq!((removed.parts, removed.rows, removed.bytes), sums);
                prop_assert_eq!(removed.last_ts_ns, of.iter().filter_map(|part| part.last_ts_ns).max());
            }
            prop_assert_eq!(read.removed().map(|removed| removed.parts).sum::<u64>(), gone.len() as u64);
        }
    }
}
