use std::fs;
use std::path::{Path, PathBuf};

use parquet::file::metadata::RowGroupMetaDataBuilder;

use super::*;
use crate::column::Comm;
use crate::part::{PartFile, PartReader, PartWriter};
use crate::table::TableBuilder;
use crate::tables::{ProcessBuilder, ProcessRow, ProcessTable, ProcessView};

/// A part of one process that was started as `exe`.
fn part(directory: &Path, exe: String) -> PathBuf {
    fs::create_dir(directory.join("process")).expect("a fresh directory");
    let mut builder = ProcessBuilder::default();
    builder.push(ProcessRow {
        ts_ns: 1,
        pid: 2,
        ppid: 1,
        start_ns: 1,
        comm: Comm::of("etcd"),
        kernel_thread: false,
        cgroup_id: 1,
        exe: Some(exe),
        cmdline: None,
        cgroup: None,
    });
    let mut part = PartWriter::create::<ProcessTable>(directory, 1, None).expect("a writable directory");
    part.write(&builder.finish().expect("equal columns")).expect("room");
    part.finish().expect("room").name.path(directory)
}

/// What is said of a part of one row whose metadata was changed.
fn said(change: impl Fn(RowGroupMetaData) -> Vec<RowGroupMetaData>) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = File::open(part(directory.path(), "/usr/bin/etcd".into())).expect("a part");
    let bytes = file.metadata().expect("a file").len();
    let mut builder = metadata(&file).expect("whole").into_builder();
    let groups = builder.take_row_groups().into_iter().flat_map(change).collect();
    // `ts_ns`, `pid` and `comm`.
    let columns = [(0, false), (1, false), (4, true)].map(|(place, words)| Column { place, words });
    let metadata = builder.set_row_groups(groups).build();
    let look = |mut looked: Looked| (0..metadata.num_row_groups()).try_for_each(|at| looked.look(&file, &metadata, at));
    let looked = Looked::new(bytes, &metadata, columns.into()).and_then(look);
    looked.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
}

/// The row group with its first column as `change` makes it.
fn with_column(
    group: RowGroupMetaData,
    change: impl Fn(ColumnChunkMetaData) -> ColumnChunkMetaData,
) -> RowGroupMetaData {
    let mut columns = group.columns().to_vec();
    columns[0] = change(columns[0].clone());
    group.into_builder().set_column_metadata(columns).build().expect("a row group")
}

#[test]
fn what_metadata_claims_must_be_in_the_file() {
    let built = |builder: RowGroupMetaDataBuilder| vec![builder.build().expect("a row group")];
    assert_eq!(said(|group| vec![group]), "fine");
    let claimed = said(|group| built(group.into_builder().set_num_rows(1 << 40)));
    assert!(claimed.contains("claims 1099511627776 rows in "), "{claimed}");
    let more = said(|group| built(group.into_builder().set_num_rows(2)));
    assert!(more.ends_with("column ts_ns: 1 values, expected 2"), "{more}");
    let outside = said(|group| {
        let column = |column: ColumnChunkMetaData| column.into_builder().set_data_page_offset(1 << 40).build();
        vec![with_column(group, |of| column(of).expect("a column"))]
    });
    assert!(outside.ends_with("column ts_ns lies outside the file"), "{outside}");
    let overlapping = said(|group| vec![group; 100]);
    assert!(overlapping.ends_with("they overlap"), "{overlapping}");
    let elsewhere = said(|group| {
        let column = |column: ColumnChunkMetaData| column.into_builder().set_data_page_offset(0).build();
        vec![with_column(group, |of| column(of).expect("a column"))]
    });
    assert!(elsewhere.contains("column ts_ns: the header of a page "), "{elsewhere}");
}

#[test]
fn a_page_or_a_text_that_is_too_large_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    // A few hundred bytes in the file.
    let path = part(directory.path(), "x".repeat(9 << 20));
    assert!(fs::metadata(&path).expect("there").len() < 20_000);
    let error = PartReader::open::<ProcessTable>(&PartFile::Whole(path)).err().expect("refused").to_string();
    assert!(error.contains("column exe: a page of 94371"), "{error}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = part(directory.path(), "x".repeat((16 << 10) + 1));
    let mut batches = PartReader::open::<ProcessTable>(&PartFile::Whole(path)).expect("a small page");
    let batch = batches.next().expect("a row").expect("readable");
    let error = ProcessView::new(&batch).err().expect("refused");
    assert_eq!(error, "column exe holds a text of 16385 bytes, expected at most 16384");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = part(directory.path(), "x".repeat(8_000_000));
    let error = PartReader::open::<ProcessTable>(&PartFile::Whole(path)).err().expect("refused").to_string();
    assert!(error.contains(" bytes that become 80") && error.ends_with(", expected at most 256 for one"), "{error}");
}

#[test]
fn a_footer_that_cannot_be_there_is_not_looked_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("part");
    for (bytes, expected) in [
        (&b"PAR1"[..], "has 4 bytes, expected at least 12"),
        (b"PAR1\0\0\0\0PARE", "does not end with PAR1: it was cut or is something else"),
        (b"PAR1\xff\xff\xff\xffPAR1", "a footer of 4294967295 bytes, expected at most 0"),
        (b"PAR1\0\0\0\0PAR1", "its footer is cut short"),
    ] {
        fs::write(&path, bytes).expect("room");
        let error = metadata(&File::open(&path).expect("there")).expect_err("refused").to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}
