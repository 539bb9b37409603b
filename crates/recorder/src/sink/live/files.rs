//! Paths of files, from the rows of the file table as they pass.

use std::sync::Arc;

use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::PathOrigin;
use iostrata_capture::tables::FileView;

use super::history::History;

use crate::host::mounts::{self, Watched};

/// Number of files in one generation: the size of the BPF map of reported files.
const GENERATION: usize = 65_536;

/// File: device number of its file system, and inode number.
type Key = (i32, i64);

/// Number of paths kept per file: files that follow one another may have one inode number.
const SPANS: usize = 8;

/// Last paths of files, in bounded memory.
pub struct Files {
    mounts: Watched,
    known: History<Key>,
}

impl Files {
    /// Starts without any file.
    pub fn new() -> Files {
        Files { mounts: Watched::new(), known: History::new(GENERATION, SPANS) }
    }

    /// Adds rows of the file table.
    pub fn learn(&mut self, rows: &RecordBatch) {
        // The recorder created the batch, so it has the columns.
        let Ok(view) = FileView::new(rows) else { return };
        self.mounts.refresh();
        for row in 0..view.rows {
            let Some((path, origin)) = view.path.at(row).zip(view.path_origin.at(row)) else { continue };
            let dev = view.dev.at(row);
            let mut path = shown(mounts::mount_point(&self.mounts.entries, dev), dev, path, origin);
            if view.deleted.at(row) {
                path.push_str(" (deleted)");
            }
            self.known.add((dev, view.ino.at(row)), view.ts_ns.at(row), path.into());
        }
    }

    /// Path of a file at `ts_ns`, if known: the last one from that time or before, or the first one if all are later.
    pub fn path(&mut self, file: Key, ts_ns: i64) -> Option<Arc<str>> {
        self.known.at(file, ts_ns)
    }
}

/// Path as the user knows it.
fn shown(mount_point: Option<&str>, dev: i32, path: &str, origin: PathOrigin) -> String {
    match (origin, mount_point) {
        (PathOrigin::Namespace, _) => path.to_owned(),
        (PathOrigin::Filesystem, _) => mounts::below(mount_point, dev, path),
        (PathOrigin::Cut, _) => format!("…/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_mounted_file_system_begins_with_its_mount_point() {
        assert_eq!(shown(Some("/"), 7, "/a/b", PathOrigin::Filesystem), "/a/b");
        assert_eq!(shown(Some("/mnt"), 8, "/a/b", PathOrigin::Filesystem), "/mnt/a/b");
        assert_eq!(shown(None, 9, "/a/b", PathOrigin::Filesystem), "[0:9]/a/b");
        assert_eq!(shown(Some("/mnt"), 8, "/a/b", PathOrigin::Namespace), "/a/b");
        assert_eq!(shown(Some("/mnt"), 8, "a/b", PathOrigin::Cut), "…/a/b");
    }

    #[test]
    fn a_request_has_the_path_that_its_file_had_at_that_time() {
        let mut files = Files::new();
        files.known.add((1, 5), 200, "second".into());
        files.known.add((1, 5), 100, "first".into());
        let mut at = |ts_ns| files.path((1, 5), ts_ns).as_deref().map(str::to_owned);
        assert_eq!(
            [50, 150, 200, 900].map(&mut at),
            ["first", "first", "second", "second"].map(|path| Some(path.to_owned()))
        );
        assert_eq!(files.path((1, 6), 900), None);
    }

    #[test]
    fn unused_files_are_evicted() {
        let mut files = Files::new();
        files.known.add((1, -1), 0, "used".into());
        files.known.add((1, -2), 0, "idle".into());
        for ino in 0..3 * GENERATION as i64 {
            files.known.add((2, ino), 0, "other".into());
            files.path((1, -1), 0);
        }
        assert_eq!(files.path((1, -1), 0).as_deref(), Some("used"));
        assert!(files.path((1, -2), 0).is_none() && files.known.len() <= 2 * GENERATION);
    }
}
