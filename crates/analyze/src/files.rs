//! The names of files, and which file an inode number was when: the capture's file table.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use anyhow::Result;
use arrow::array::RecordBatch;
use foldhash::fast::RandomState;
use iostrata_capture::Capture;
use iostrata_capture::column::Reader;
use iostrata_capture::op::PathOrigin;
use iostrata_capture::tables::{FileTable, FileView};
use smallvec::SmallVec;

use crate::entity::{FileId, device_number};

/// A path, and where in the capture it was told.
struct Name {
    rank: u8,
    ts_ns: i64,
    path: String,
}

/// The files of a capture. Memory follows the number of files, not of rows.
#[derive(Default)]
pub struct Files {
    /// By device and inode number: the generation of the number from some moment on, ascending.
    generations: HashMap<(i32, i64), Generations, RandomState>,
    /// Of each file the path that is best to show.
    names: HashMap<FileId, Name, RandomState>,
}

/// Most numbers have only one, which then lies where the number was found.
type Generations = SmallVec<[(i64, i64); 1]>;

impl Files {
    /// Reads the file table of `capture`.
    pub fn load(capture: &Capture) -> Result<Files> {
        let mut files = Files::default();
        for part in capture.parts::<FileTable>()? {
            part.read::<FileTable>(|batch| files.add_batch(batch))?;
        }
        files.settle();
        Ok(files)
    }

    /// Puts the rows of each number in order. Where a file comes back after another one, both have the number at once
    /// (subvolumes of btrfs): which of them a row is of is not known.
    fn settle(&mut self) {
        self.generations.retain(|_, spans| {
            if spans.len() < 2 {
                return true;
            }
            spans.sort_unstable();
            // Other names of the same file.
            spans.dedup_by_key(|(_, generation)| *generation);
            let distinct: HashSet<i64> = spans.iter().map(|(_, generation)| *generation).collect();
            distinct.len() == spans.len()
        });
    }

    fn add_batch(&mut self, batch: &RecordBatch) -> std::result::Result<(), String> {
        let view = FileView::new(batch)?;
        // Most rows are of a file each, and tables that grow are written anew.
        self.generations.reserve(view.rows);
        self.names.reserve(view.rows);
        (0..view.rows).for_each(|row| self.add(&view, row));
        Ok(())
    }

    fn add(&mut self, view: &FileView, row: usize) {
        let (ts_ns, dev, ino, generation) =
            (view.ts_ns.at(row), view.dev.at(row), view.ino.at(row), view.generation.at(row));
        self.generations.entry((dev, ino)).or_default().push((ts_ns, generation));
        if let Some((path, origin)) = view.path.at(row).zip(view.path_origin.at(row)) {
            let name = Name { rank: rank(origin), ts_ns, path: shown(path, origin, dev) };
            match self.names.entry(FileId { dev, ino, generation: Some(generation) }) {
                Entry::Vacant(place) => drop(place.insert(name)),
                Entry::Occupied(mut was) => {
                    if (name.rank, name.ts_ns) >= (was.get().rank, was.get().ts_ns) {
                        was.insert(name);
                    }
                }
            }
        }
    }

    /// The file that had an inode number at `ts_ns`: by its last row not after it, or by its first where all are later.
    /// And the first and the last moment at which that is so.
    pub fn find(&self, dev: i32, ino: i64, ts_ns: i64) -> (FileId, (i64, i64)) {
        let spans = self.generations.get(&(dev, ino)).map_or(&[][..], SmallVec::as_slice);
        let after = spans.partition_point(|(from_ns, _)| *from_ns <= ts_ns);
        let span = spans.get(after.saturating_sub(1));
        let from_ns = span.filter(|_| after >= 2).map_or(i64::MIN, |(from_ns, _)| *from_ns);
        let last_ns = spans.get(after.max(1)).map_or(i64::MAX, |(next_ns, _)| next_ns.saturating_sub(1));
        (FileId { dev, ino, generation: span.map(|(_, generation)| *generation) }, (from_ns, last_ns))
    }

    /// The generations that an inode number had between two moments, each from when on.
    pub fn all(&self, (dev, ino): (i32, i64), (first_ns, last_ns): (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
        let spans = self.generations.get(&(dev, ino)).map_or(&[][..], SmallVec::as_slice);
        let found = spans.partition_point(|(from_ns, _)| *from_ns <= first_ns).saturating_sub(1);
        let (found, later) = spans.split_at((found + 1).min(spans.len()));
        let later = later.iter().take_while(move |(from_ns, _)| *from_ns <= last_ns).copied();
        found.last().map(|(_, generation)| (i64::MIN, *generation)).into_iter().chain(later)
    }

    /// The path of a file: the last one of those that say most.
    pub fn name(&self, file: FileId) -> Option<&str> {
        self.names.get(&file).map(|name| name.path.as_str())
    }
}

fn rank(origin: PathOrigin) -> u8 {
    match origin {
        PathOrigin::Namespace => 2,
        PathOrigin::Filesystem => 1,
        PathOrigin::Cut => 0,
    }
}

/// A path that begins with `/` is one from the root of a mount namespace.
fn shown(path: &str, origin: PathOrigin, dev: i32) -> String {
    match origin {
        PathOrigin::Namespace => path.to_owned(),
        PathOrigin::Filesystem => format!("[{}]{path}", device_number(dev)),
        PathOrigin::Cut => format!("…/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iostrata_capture::table::{Table, TableBuilder};
    use iostrata_capture::tables::FileRow;

    const DEV: i32 = 7 << 20 | 1;

    fn row(ts_ns: i64, generation: i64, path: Option<(&str, PathOrigin)>) -> FileRow {
        FileRow {
            ts_ns,
            dev: DEV,
            ino: 12,
            generation,
            path: path.map(|(path, _)| path.to_owned()),
            path_origin: path.map(|(_, origin)| origin),
            mount_namespace: None,
            deleted: false,
            fd_kind: None,
            fs: Default::default(),
            pid: 1,
        }
    }

    fn files(rows: Vec<FileRow>) -> Files {
        let mut builder = <FileTable as Table>::Builder::default();
        rows.into_iter().for_each(|row| builder.push(row));
        let batch = builder.finish().expect("a batch");
        let view = FileView::new(&batch).expect("its columns");
        let mut files = Files::default();
        (0..view.rows).for_each(|row| files.add(&view, row));
        files.settle();
        files
    }

    #[test]
    fn a_number_that_is_used_again_is_another_file() {
        let at_root = |path| Some((path, PathOrigin::Namespace));
        let files =
            files(vec![row(20, 5, at_root("/new")), row(10, 4, at_root("/old")), row(15, 4, at_root("/moved"))]);
        let at = |ts_ns| files.find(DEV, 12, ts_ns).0;
        assert_eq!([0, 10, 19, 20, 99].map(|ts_ns| at(ts_ns).generation), [4, 4, 4, 5, 5].map(Some));
        assert_eq!([10, 20].map(|ts_ns| files.name(at(ts_ns))), [Some("/moved"), Some("/new")]);
        assert_eq!(
            [0, 10, 19, 20, 99].map(|ts_ns| files.find(DEV, 12, ts_ns).1),
            [(i64::MIN, 19), (i64::MIN, 19), (i64::MIN, 19), (20, i64::MAX), (20, i64::MAX),]
        );
        let nowhere = FileId { dev: 7, ino: 12, generation: None };
        assert_eq!(files.find(7, 12, 20), (nowhere, (i64::MIN, i64::MAX)));
        assert_eq!(files.name(nowhere), None);
    }

    fn name_in(files: &Files) -> Option<String> {
        files.name(files.find(DEV, 12, 0).0).map(str::to_owned)
    }

    #[test]
    fn of_two_files_that_have_one_number_at_once_neither_is_known() {
        let at_root = |path| Some((path, PathOrigin::Namespace));
        let files = files(vec![row(10, 4, at_root("/a")), row(20, 5, at_root("/b")), row(30, 4, at_root("/a"))]);
        assert_eq!([10, 20, 30].map(|ts_ns| files.find(DEV, 12, ts_ns).0.generation), [None; 3]);
    }

    #[test]
    fn the_path_that_says_most_is_shown_and_no_other_looks_like_it() {
        let name = |rows: &[(&str, PathOrigin)]| {
            let rows = rows.iter().enumerate().map(|(at, path)| row(at as i64, 1, Some(*path))).collect();
            name_in(&files(rows))
        };
        let (cut, by_pages) = (("b/c", PathOrigin::Cut), ("/b/c", PathOrigin::Filesystem));
        assert_eq!(name(&[cut]).as_deref(), Some("…/b/c"));
        assert_eq!(name(&[by_pages, cut]).as_deref(), Some("[7:1]/b/c"));
        assert_eq!(name(&[("/a/b/c", PathOrigin::Namespace), by_pages]).as_deref(), Some("/a/b/c"));
        assert_eq!(name_in(&files(vec![row(0, 1, None)])), None);
    }
}
