//! Seed inputs: files of a recorder, and small valid ones.

use std::fs;
use std::path::Path;

use arrow_array::RecordBatch;
use iostrata_capture::dir::Dir;
use iostrata_capture::manifest::{Manifest, State};
use iostrata_capture::op::Layer;
use iostrata_capture::part::{PartFile, PartReader, PartWriter, Place};
use iostrata_capture::table::{Layout, Table};
use iostrata_capture::tables::{BlockTable, FileTable, FsTable, ProcessTable, ShareTable, SyscallTable, VfsTable};
use parquet::arrow::ArrowWriter;
use parquet::basic::Encoding;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use iostrata_analyze::analyses;

use super::inputs::{LARGE, LIST, MANIFEST, PARTS, Stage, largest, numbered};
use crate::support::small;

/// Returns the seeds of a kind, with names.
pub fn of(kind: &str) -> Vec<(String, Vec<u8>)> {
    let named =
        |seeds: Vec<Vec<u8>>| seeds.into_iter().enumerate().map(|(n, seed)| (format!("seed-{n}"), seed)).collect();
    match kind {
        "manifest" => named(manifests()),
        "list" => named(lists()),
        "rules" => named(rules()),
        "partial" => named(partials()),
        "import" => named(traces()),
        "sidecar" => named(each_table(sidecars)),
        "parquet" => named(each_table(parts)),
        _ => unreachable!("no such kind: {kind}"),
    }
}

fn manifests() -> Vec<Vec<u8>> {
    let mut manifest = small(Layer::ALL).manifest;
    let mut seeds = vec![MANIFEST.as_bytes().to_vec()];
    let mut seed = |manifest: &Manifest| seeds.push(serde_json::to_vec(manifest).expect("a manifest"));
    seed(&manifest);
    manifest.state = State::Recording;
    seed(&manifest);
    // Everything that a manifest may have, without repetition.
    let whole: Manifest = serde_json::from_str(MANIFEST).expect("a manifest");
    manifest.state = State::Complete;
    manifest.devices = whole.devices.into_iter().take(2).collect();
    manifest.mounts = whole.mounts.into_iter().take(2).collect();
    manifest.probes = whole.probes.into_iter().take(1).collect();
    manifest.books.accounts = whole.books.accounts.into_iter().take(2).collect();
    manifest.device_books = whole.device_books;
    manifest.clock = whole.clock;
    seed(&manifest);
    seeds
}

/// Lists of existing parts, of removed ones (as a line and as a sum), an empty list, and one with a truncated line.
fn lists() -> Vec<Vec<u8>> {
    let lies_there = |line: &&str| PARTS[LARGE..].iter().any(|(table, _)| line.contains(&format!("\"{table}\"")));
    let there: String = LIST.split_inclusive('\n').filter(lies_there).collect();
    let removed = |table: &str| format!("{{\"removed\":\"{table}/part-000001.parquet\"}}\n");
    let sum = r#"{"removed_sum":{"table":"block","parts":2,"rows":3,"bytes":4,"last_ts_ns":1795304094982543904}}"#;
    let lists = [
        there.clone(),
        LIST.to_owned() + &removed("syscall") + &removed("vfs") + &removed("fs"),
        format!("{sum}\n{there}{}", removed("file")),
        String::new(),
        there[..there.len() - 20].to_owned(),
    ];
    lists.map(String::into_bytes).into()
}

/// A partial result of each analysis.
fn partials() -> Vec<Vec<u8>> {
    let stage = Stage::new().expect("a place for temporary files");
    let seed = |number: u8| [&[number][..], &largest(&stage, numbered(number.into()))].concat();
    (0..).take(analyses::ALL.len()).map(seed).collect()
}

/// A trace of each kind, and one of blktrace in two files and in the other byte order.
fn traces() -> Vec<Vec<u8>> {
    const READ: u32 = 1 << 16;
    const WRITE: u32 = 1 << 17;
    let record = |(time_ns, action, sector): (u64, u32, u64), payload: &[u8], to: fn(&[u8]) -> Vec<u8>| {
        let fields: [&[u8]; 11] = [
            &0x6561_7407_u32.to_le_bytes(),
            &1u32.to_le_bytes(),
            &time_ns.to_le_bytes(),
            &sector.to_le_bytes(),
            &4096u32.to_le_bytes(),
            &action.to_le_bytes(),
            &7u32.to_le_bytes(),
            &(8u32 << 20).to_le_bytes(),
            &0u32.to_le_bytes(),
            &0u16.to_le_bytes(),
            &u16::try_from(payload.len()).expect("short").to_le_bytes(),
        ];
        [fields.map(to).concat(), payload.to_vec()].concat()
    };
    let as_is: fn(&[u8]) -> Vec<u8> = <[u8]>::to_vec;
    let reversed: fn(&[u8]) -> Vec<u8> = |field| field.iter().rev().copied().collect();
    // A wall-clock time, a process name, and two requests: queued, merged, inserted, issued, requeued, issued again, completed.
    let head = |to| {
        let clock = record((5, 1 << 26 | 1, 0), &[0; 8], to);
        [clock, record((6, 1 << 26, 0), b"writer\0\0\0\0\0\0\0\0\0\0", to)].concat()
    };
    let steps = [(10, 1), (11, 3), (12, 2), (13, 12), (14, 7), (15, 6), (16, 7), (20, 8)];
    let requests = |way: u32, (begin_ns, sector): (u64, u64), to| -> Vec<u8> {
        steps.iter().flat_map(|(time_ns, action)| record((begin_ns + time_ns, action | way, sector), &[], to)).collect()
    };
    let whole = |to| [head(to), requests(WRITE, (0, 8), to), requests(READ, (20, 16), to)].concat();
    let (first, second) = ([head(as_is), requests(WRITE, (0, 8), as_is)].concat(), requests(READ, (20, 16), as_is));
    let length = u16::try_from(first.len()).expect("short").to_le_bytes();
    let msr = b"128166372003061629,hm,1,Read,383496192,32768,413\n128166372016382155,hm,1,Write,2822144,4096,100\n";
    let alibaba = b"419,W,8792731648,16384,1577808144360767\n725,R,59110326272,360448,1577808144360813\n";
    let tencent = b"1538323200,12910952,128,0,1063\n1538323200,6423680,8,1,1246\n";
    vec![
        [&[0], &whole(as_is)[..]].concat(),
        [&[0], &whole(reversed)[..]].concat(),
        [&[0x80], &length[..], &first, &second].concat(),
        [&[1], &msr[..]].concat(),
        [&[2], &alibaba[..]].concat(),
        [&[3], &tencent[..]].concat(),
    ]
}

fn rules() -> Vec<Vec<u8>> {
    let built_in = include_bytes!("../../../../capture/src/system.toml");
    let one: &[u8] =
        b"[[system]]\nname = \"a\"\nrules = [{ exe = \"*/{a,b?}\", cgroup = \"**/[a-z]\" }, { comm = \"a\" }]\n";
    let other = b"system = [{ name = 'b', rules = [{ cmdline = '*' }] }]\n";
    vec![built_in.to_vec(), one.to_vec(), other.to_vec()]
}

/// Returns the seeds that `make` builds from the first rows of each table and its number.
fn each_table(make: fn(u8, &dyn Made) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let tables: [&dyn Made; 7] = [
        &Of::<SyscallTable>::new(),
        &Of::<VfsTable>::new(),
        &Of::<FsTable>::new(),
        &Of::<BlockTable>::new(),
        &Of::<ShareTable>::new(),
        &Of::<ProcessTable>::new(),
        &Of::<FileTable>::new(),
    ];
    tables.into_iter().zip(0..).flat_map(|(table, number)| make(number, table)).collect()
}

/// A finished part, the same in two pieces, and a few of its rows uncompressed, where changes have more effect.
fn parts(number: u8, table: &dyn Made) -> Vec<Vec<u8>> {
    let whole = table.fixture();
    let plain = table.plain();
    vec![
        [&[number | 0x80], whole].concat(),
        in_pieces(number, whole),
        in_pieces(number, &plain),
        in_pieces(number | 0x40, &plain),
    ]
}

/// The pages of a part and its footer, in the format that the fuzz target reassembles.
fn in_pieces(head: u8, part: &[u8]) -> Vec<u8> {
    let (body, tail) = part.split_last_chunk::<8>().expect("a footer");
    let length = [tail[0], tail[1]];
    assert_eq!(tail[2..], *b"\0\0PAR1");
    [&[head], &length[..], &body[4..]].concat()
}

/// An unfinished part after two flushes, with its own checksums and with those of the target.
fn sidecars(number: u8, table: &dyn Made) -> Vec<Vec<u8>> {
    let place = tempfile::tempdir().expect("a temporary directory");
    table.torn(place.path());
    let read = |what: &str| fs::read(place.path().join(table.name()).join(format!(".part-000001.parquet.{what}")));
    let (part, log) = (read("tmp").expect("a part"), read("groups").expect("a log"));
    let length = u16::try_from(part.len()).expect("a small part").to_le_bytes();
    [number, number | 0x80].map(|head| [&[head], &length[..], &part, &log].concat()).into()
}

/// A table with rows.
trait Made {
    fn name(&self) -> &'static str;
    fn fixture(&self) -> &'static [u8];
    fn plain(&self) -> Vec<u8>;
    fn torn(&self, capture: &Path);
}

struct Of<T> {
    rows: RecordBatch,
    table: std::marker::PhantomData<T>,
}

impl<T: Table> Of<T> {
    fn new() -> Of<T> {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("part");
        fs::write(&path, part_of(T::NAME)).expect("room");
        let mut batches = PartReader::open::<T>(&PartFile::Whole(Place::named(&path).expect("there"))).expect("a part");
        let rows = batches.next().map_or_else(|| RecordBatch::new_empty(T::schema()), |batch| batch.expect("readable"));
        Of { rows, table: std::marker::PhantomData }
    }

    fn few(&self, from: usize) -> RecordBatch {
        let from = from.min(self.rows.num_rows());
        self.rows.slice(from, 3.min(self.rows.num_rows() - from))
    }
}

fn part_of(table: &str) -> &'static [u8] {
    PARTS.iter().find(|(name, _)| *name == table).expect("a table of the fixture").1
}

impl<T: Table> Made for Of<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }

    fn fixture(&self) -> &'static [u8] {
        part_of(T::NAME)
    }

    fn plain(&self) -> Vec<u8> {
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let properties = T::columns().into_iter().fold(properties, |properties, column| {
            let path = ColumnPath::from(column.name);
            match column.layout {
                Layout::Delta => properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                Layout::Split => properties.set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT),
                Layout::Dictionary => properties.set_column_dictionary_enabled(path, true),
                Layout::Plain => properties.set_column_encoding(path, Encoding::PLAIN),
            }
        });
        let mut writer = ArrowWriter::try_new(Vec::new(), T::schema(), Some(properties.build())).expect("a schema");
        for from in [0, 3] {
            writer.write(&self.few(from)).expect("rows");
            writer.flush().expect("room");
        }
        writer.into_inner().expect("room")
    }

    fn torn(&self, capture: &Path) {
        fs::create_dir(capture.join(T::NAME)).expect("a fresh directory");
        let mut part =
            PartWriter::create::<T>(&Dir::open(capture).expect("there"), 1, None).expect("a writable directory");
        for from in [0, 3] {
            part.write(&self.few(from)).expect("room");
            part.flush().expect("room");
        }
    }
}
