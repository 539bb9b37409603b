use std::fs;
use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::log::Records;
use super::*;
use crate::TableId;
use crate::column::{Comm, Reader};
use crate::op::Op;
use crate::table::{Layout, Table, TableBuilder};
use crate::tables::{
    BlockTable, ProcessBuilder, ProcessRow, ProcessTable, ProcessView, SyscallBuilder, SyscallRow, SyscallTable,
    SyscallView,
};

fn process(ts_ns: i64, exe: Option<&str>) -> ProcessRow {
    ProcessRow {
        ts_ns,
        pid: 4,
        ppid: 1,
        start_ns: 3,
        comm: Comm(*b"etcd\0\0\0\0\0\0\0\0\0\0\0\0"),
        kernel_thread: false,
        cgroup_id: 1,
        exe: exe.map(str::to_owned),
        cmdline: None,
        cgroup: Some("/".into()),
    }
}

fn dir(path: &Path) -> Dir {
    Dir::open(path).expect("there")
}

fn at(path: &Path) -> PartFile {
    PartFile::Whole(Place::named(path).expect("there"))
}

fn written(directory: &Path) -> Part {
    fs::create_dir(directory.join("process")).expect("a fresh directory");
    let mut builder = ProcessBuilder::default();
    builder.push(process(20, Some("/usr/bin/etcd")));
    builder.push(process(10, None));
    let mut part = PartWriter::create::<ProcessTable>(&dir(directory), 1, None).expect("a writable directory");
    part.write(&builder.finish().expect("equal columns")).expect("room");
    part.finish().expect("room")
}

#[test]
fn a_finished_part_reads_back_and_leaves_no_temporary_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let part = written(directory.path());
    assert_eq!((part.rows, part.first_ts_ns, part.last_ts_ns), (2, Some(10), Some(20)));
    let path = part.name.path(directory.path());
    let batches: Vec<_> = PartReader::open::<ProcessTable>(&at(&path)).expect("whole").collect();
    let batch = batches[0].as_ref().expect("whole");
    let view = ProcessView::new(batch).expect("its own schema");
    assert_eq!(view.exe.at(0), Some("/usr/bin/etcd"));
    assert_eq!(view.exe.at(1), None);
    assert_eq!(view.comm.at(1), Some("etcd"));
    assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("readable").count(), 1);
}

#[test]
fn small_row_groups_read_back_some_hundred_at_once_in_whatever_order_they_are_asked_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(directory.path().join("process")).expect("a fresh directory");
    let row = |number: i64| {
        let mut row = process(number * 7, Some("/usr/bin/etcd").filter(|_| number % 3 > 0));
        row.comm = Comm::of(&format!("job{}", number % 5));
        row.kernel_thread = number % 2 == 0;
        row
    };
    let mut part = PartWriter::create::<ProcessTable>(&dir(directory.path()), 1, None).expect("a writable directory");
    for number in 0..1_000 {
        let mut builder = ProcessBuilder::default();
        (0..number % 4).for_each(|_| builder.push(row(number)));
        part.write(&builder.finish().expect("equal columns")).expect("room");
        part.end_group().expect("room");
    }
    let part = part.finish().expect("room");
    let path = at(&part.name.path(directory.path()));
    let columns: Vec<&str> = ProcessTable::columns().iter().map(|column| column.name).collect();
    let mut open = OpenPart::new::<ProcessTable>(&path, &columns).expect("whole");
    // There is no row group without rows.
    assert_eq!(open.groups(), 750);
    let groups: Vec<usize> = (0..open.groups()).rev().filter(|group| group % 10 > 0).collect();
    let (mut batches, mut read) = (0, Vec::new());
    for batch in open.read(&groups).expect("whole") {
        let batch = batch.expect("whole");
        let view = ProcessView::new(&batch).expect("its own schema");
        batches += 1;
        read.extend((0..view.rows).map(|row| {
            let words = [view.comm.at(row), view.exe.at(row), view.cmdline.at(row)];
            (view.ts_ns.at(row), words.map(|word| word.map(str::to_owned)), view.kernel_thread.at(row))
        }));
    }
    let numbers: Vec<i64> = (0..1_000).filter(|number| number % 4 > 0).collect();
    let expected = groups.iter().flat_map(|group| {
        let ProcessRow { ts_ns, comm, exe, cmdline, kernel_thread, .. } = row(numbers[*group]);
        let told = (ts_ns, [Some(comm.text()), exe, cmdline], kernel_thread);
        vec![told; numbers[*group] as usize % 4]
    });
    assert_eq!(read, expected.collect::<Vec<_>>());
    // One for each row group would be as many.
    assert_eq!(batches, groups.len().div_ceil(256));
}

#[test]
fn a_part_of_another_table_is_refused_with_the_column_at_fault() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let part = written(directory.path());
    let error = PartReader::open::<BlockTable>(&at(&part.name.path(directory.path()))).err().expect("refused");
    assert!(error.to_string().ends_with("part-000001.parquet: column dur_ns is missing"), "{error}");
}

#[test]
fn a_column_that_was_added_is_null_in_older_parts_and_no_other_may_be_missing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut builder = SyscallBuilder::default();
    builder.push(SyscallRow {
        ts_ns: 1,
        dur_ns: 9,
        pid: 4,
        tid: 4,
        comm: Comm(*b"etcd\0\0\0\0\0\0\0\0\0\0\0\0"),
        cgroup_id: 1,
        op: Op::Fsync,
        fd_kind: None,
        dev: None,
        ino: Some(12),
        offset_bytes: None,
        requested_bytes: None,
        runnable_ns: Some(7),
        ret: -5,
        flags: None,
        weight: 1,
    });
    let batch = builder.finish().expect("equal columns");
    let written = |without: &str| {
        let schema = batch.schema();
        let kept = (0..batch.num_columns()).filter(|number| schema.field(*number).name() != without);
        let batch = batch.project(&kept.collect::<Vec<_>>()).expect("its columns");
        let path = directory.path().join(without);
        let file = fs::File::create(&path).expect("a writable directory");
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let words = SyscallTable::columns().into_iter().filter(|column| column.layout == Layout::Dictionary);
        let properties = words.fold(properties, |properties, column| {
            properties.set_column_dictionary_enabled(ColumnPath::from(column.name), true)
        });
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).expect("a schema");
        writer.write(&batch).expect("room");
        writer.close().expect("room");
        at(&path)
    };
    let read = |part: &PartFile| {
        let batches: Vec<_> = PartReader::open::<SyscallTable>(part)?.collect::<Result<_>>()?;
        let view = SyscallView::new(&batches[0]).expect("its own schema");
        Ok::<_, Error>((view.rows, view.runnable_ns.at(0), view.ino.at(0), view.ret.at(0)))
    };
    assert_eq!(read(&written("nothing")).expect("whole"), (1, Some(7), Some(12), -5));
    assert_eq!(read(&written("runnable_ns")).expect("an older part"), (1, None, Some(12), -5));
    let error = read(&written("ino")).expect_err("refused");
    assert!(error.to_string().ends_with("column ino is missing"), "{error}");
}

#[test]
fn a_truncated_part_is_an_error_wherever_it_was_cut() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = written(directory.path()).name.path(directory.path());
    let whole = fs::read(&path).expect("readable");
    for length in [0, 3, 4, 8, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("room");
        let error = PartReader::open::<ProcessTable>(&at(&path)).err().expect("refused");
        assert!(error.to_string().contains("not a readable Parquet file"), "{length}: {error}");
    }
}

/// A part of three row groups of one row each, and a fourth row that was never flushed, as a killed recorder leaves it.
fn torn(directory: &Path) -> PathBuf {
    let folder = directory.join("process");
    fs::create_dir(&folder).expect("a fresh directory");
    let mut part = PartWriter::create::<ProcessTable>(&dir(directory), 7, None).expect("a writable directory");
    for ts_ns in [30, 10, 20, 40] {
        let mut builder = ProcessBuilder::default();
        builder.push(process(ts_ns, Some("/usr/bin/etcd")));
        part.write(&builder.finish().expect("equal columns")).expect("room");
        if ts_ns != 40 {
            part.flush().expect("room");
        }
    }
    folder
}

fn times(part: &PartFile) -> Vec<i64> {
    let mut times = Vec::new();
    for batch in PartReader::open::<ProcessTable>(part).expect("readable") {
        let batch = batch.expect("readable");
        times.extend_from_slice(ProcessView::new(&batch).expect("its own schema").ts_ns);
    }
    times
}

#[test]
fn a_part_that_was_never_finished_reads_and_becomes_whole_as_far_as_it_was_flushed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = torn(directory.path());
    let torn = IncompletePart::read(&dir(&folder), 7).expect("readable").expect("three row groups");
    assert_eq!((torn.rows(), times(&PartFile::Incomplete(Box::new(torn.clone())))), (3, vec![30, 10, 20]));
    let part = torn.finish(TableId::Process).expect("room");
    assert_eq!((part.rows, part.first_ts_ns, part.last_ts_ns), (3, Some(10), Some(30)));
    let path = part.name.path(directory.path());
    assert_eq!(part.bytes, fs::metadata(&path).expect("there").len());
    assert_eq!(times(&at(&path)), [30, 10, 20]);
    assert_eq!(fs::read_dir(&folder).expect("readable").count(), 1, "only the part is left");
    // A reader that opened it before still finds it.
    assert_eq!(times(&PartFile::Incomplete(Box::new(torn))), [30, 10, 20]);
}

#[test]
fn whatever_a_power_cut_leaves_only_whole_row_groups_are_believed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = torn(directory.path());
    let (part, log) = (folder.join(temporary_name(7)), folder.join(log_name(7)));
    let (whole_part, whole_log) = (fs::read(&part).expect("readable"), fs::read(&log).expect("readable"));
    let opened = dir(&folder);
    let rows = || match IncompletePart::read(&opened, 7).expect("readable") {
        None => 0,
        Some(torn) => {
            let times = times(&PartFile::Incomplete(Box::new(torn.clone())));
            assert_eq!(times, [30, 10, 20][..times.len()]);
            assert_eq!(torn.rows(), times.len() as u64);
            times.len()
        }
    };
    // Truncated anywhere: more of the file is needed for another row group.
    for (path, whole) in [(&part, &whole_part), (&log, &whole_log)] {
        let mut before = 0;
        let mut seen = Vec::new();
        for length in 0..=whole.len() {
            fs::write(path, &whole[..length]).expect("room");
            let now = rows();
            assert!(now >= before, "{}: {now} row groups at {length} bytes", path.display());
            before = now;
            seen.push(now);
        }
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 3]);
    }
    // Blocks that never reached the disk: holes in one of the files.
    for (path, whole) in [(&part, &whole_part), (&log, &whole_log)] {
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] = !damaged[at];
            fs::write(path, &damaged).expect("room");
            // Data after the damage is ignored, the rest is read.
            assert!(rows() < 3 || path == &part && at >= last_end(&whole_log), "a byte at {at} of {}", path.display());
        }
        fs::write(path, whole).expect("room");
    }
    assert_eq!(rows(), 3);
}

#[test]
fn a_part_that_has_a_name_elsewhere_is_not_made_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = torn(directory.path());
    let elsewhere = directory.path().join("elsewhere");
    fs::hard_link(folder.join(temporary_name(7)), &elsewhere).expect("room");
    let before = fs::read(&elsewhere).expect("readable");
    let torn = IncompletePart::read(&dir(&folder), 7).expect("readable").expect("three row groups");
    let error = torn.finish(TableId::Process).expect_err("refused").to_string();
    assert!(error.ends_with("has other hard links, expected a file with one"), "{error}");
    assert_eq!(fs::read(&elsewhere).expect("still there"), before);
    fs::remove_file(&elsewhere).expect("there");
    assert_eq!(torn.finish(TableId::Process).expect("room").rows, 3);
}

/// Returns the end of the last row group, by the log.
fn last_end(log: &[u8]) -> usize {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("log");
    fs::write(&path, log).expect("room");
    let file = File::open(&path).expect("there");
    let mut records = Records::of(&file, log.len() as u64).expect("readable");
    std::iter::from_fn(|| records.next().expect("readable")).last().expect("records").end as usize
}

#[test]
fn the_log_costs_a_part_no_more_than_its_footer() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let folder = torn(directory.path());
    let log = fs::metadata(folder.join(log_name(7))).expect("there").len();
    let torn = IncompletePart::read(&dir(&folder), 7).expect("readable").expect("three row groups");
    let metadata = torn.metadata().expect("a footer");
    let before = metadata.row_groups()[2].columns().last().expect("columns").byte_range();
    let part = torn.finish(ProcessTable::ID).expect("room");
    let footer = part.bytes - before.0 - before.1;
    assert!(log < 3 * footer, "{log} against {footer}");
}
