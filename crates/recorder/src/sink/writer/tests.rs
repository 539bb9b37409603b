use std::fs;

use iostrata_capture::TableId;
use iostrata_capture::dir::Dir;
use iostrata_capture::list::{Entry, read};
use iostrata_capture::part::MOST_GROUPS;
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::{ClockBuilder, ClockRow};

use super::super::{MinFree, ParquetSink, Sink};
use super::*;
use crate::memory::Memory;

const LONG: Duration = Duration::from_secs(3600);

/// Returns the row counts of the parts of `clock` that a writer creates from `batches` batches of one row, each a row group; with
/// `--max-disk` if `small_parts` is given.
fn rows_of_parts(batches: u64, rotate_interval: Duration, small_parts: Option<u64>) -> Vec<u64> {
    let place = tempfile::tempdir().expect("a temporary directory");
    TableId::ALL.iter().for_each(|table| fs::create_dir(place.path().join(table.name())).expect("room"));
    let directory = Dir::open(place.path()).expect("there");
    let settings = Settings {
        directory: directory.clone(),
        began_ns: 0,
        capture_id: "0123456789abcdef".to_owned(),
        older: Vec::new(),
        min_free: MinFree::Bytes(0),
        max_disk_bytes: small_parts.map(|_| 1 << 30),
        rotate_bytes: u64::MAX,
        rotate_interval,
        flush_interval: LONG,
        tick: LONG,
        // No memory for row groups being encoded: each ends at once.
        memory: Memory {
            ring_bytes: 0,
            queue_bytes: 1 << 20,
            parts_bytes: 0,
            small_parts: small_parts.unwrap_or(0),
            thrift_bytes: u64::MAX,
        },
    };
    let (mut sink, writer) = ParquetSink::start(settings, Default::default()).expect("a list of parts");
    for number in 0..batches {
        let mut builder = ClockBuilder::default();
        builder.push(ClockRow { ts_ns: number as i64, wall_ns: 1, boot_ns: 2 });
        let (rows, mut tally) = (builder.finish().expect("equal columns"), EventCounts::default());
        tally.count(0, &Default::default());
        assert!(sink.put(Batch { table: TableId::Clock, rows, tally }).is_ok());
    }
    drop(sink);
    let written = writer.join().expect("no panic");
    assert_eq!((written.error, written.written[TableId::Clock].events()), (None, batches));
    let mut rows = Vec::new();
    let read = read(&directory, |entry| {
        rows.extend(match entry {
            Entry::Finished(part) if part.name.table == TableId::Clock => Some(part.rows),
            _ => None,
        });
        Ok(())
    });
    read.expect("a list");
    rows
}

#[test]
fn a_part_is_closed_when_it_has_as_many_row_groups_as_one_may_have_whatever_the_options_say() {
    assert_eq!(rows_of_parts(2 * MOST_GROUPS + 7, LONG, None), [MOST_GROUPS, MOST_GROUPS, 7]);
}

#[test]
fn where_parts_are_kept_in_memory_there_are_only_so_many_small_ones_however_often_they_are_to_be_closed() {
    assert_eq!(rows_of_parts(6, Duration::ZERO, None), [1; 6]);
    assert_eq!(rows_of_parts(MOST_GROUPS + 6, Duration::ZERO, Some(3)), [1, 1, 1, MOST_GROUPS, 3]);
}
