//! Names of files, which groups of operations on files emit.

use iostrata_capture::TableId;
use iostrata_capture::ledger::Amounts;
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::FileRow;

use crate::bpf::{record_at, types};
use crate::decode::{Decoder, comm, fd_kind};
use crate::intake::Intake;

/// Takes the record of a file.
pub fn take(intake: &mut Intake, cpu: u16, bytes: &[u8]) -> Option<()> {
    let row = intake.decoder.file(record_at(bytes)?);
    if intake.keeps(TableId::File, cpu, (Some(row.dev), row.pid)) {
        intake.waiting[TableId::File].count(cpu, &Amounts::default());
        intake.builders.file.push(row);
    }
    Some(())
}

impl Decoder {
    /// Decodes the name of a file.
    pub fn file(&self, event: &types::name_event) -> FileRow {
        let path = self.path(&event.path, event.components, event.path_origin);
        let (path, path_origin) = path.and_then(|(path, origin)| self.veil.path(path).zip(Some(origin))).unzip();
        FileRow {
            ts_ns: event.head.start_ns + self.clock_offset_ns,
            dev: event.dev,
            ino: event.ino,
            generation: i64::from(event.generation),
            path,
            path_origin,
            mount_namespace: (event.mount_namespace != 0).then_some(i64::from(event.mount_namespace)),
            deleted: event.deleted != 0,
            fd_kind: fd_kind(event.head.fd_kind),
            fs: comm(&event.fs),
            pid: event.pid as i32,
        }
    }
}

#[cfg(test)]
mod tests {
    use iostrata_capture::op::{FdKind, PathOrigin};

    use super::*;
    use crate::decode::tests::decoder;

    fn named(names: &[u8], components: u8, origin: u8) -> FileRow {
        let mut event = types::name_event { components, path_origin: origin, ino: 12, dev: 7, ..Default::default() };
        event.head.fd_kind = 1;
        for (to, from) in event.path.iter_mut().zip(names) {
            *to = *from as i8;
        }
        decoder().file(&event)
    }

    #[test]
    fn a_path_that_is_cut_begins_at_no_root() {
        let whole = named(b"b\0a\0left over from another", 2, 1);
        assert_eq!((whole.path.as_deref(), whole.path_origin), (Some("/a/b"), Some(PathOrigin::Namespace)));
        assert_eq!((whole.ino, whole.dev, whole.fd_kind, whole.deleted), (12, 7, Some(FdKind::Regular), false));
        let cut = named(b"b\0a\0", 2, 3);
        assert_eq!((cut.path.as_deref(), cut.path_origin), (Some("a/b"), Some(PathOrigin::Cut)));
    }

    #[test]
    fn a_file_without_a_path_says_nothing_of_one() {
        let unread = named(b"b\0a\0", 2, 0);
        assert_eq!((unread.path, unread.path_origin, unread.mount_namespace), (None, None, None));
        assert_eq!(named(b"", 0, 3).path_origin, None);
        assert_eq!(named(b"", 0, 2).path.as_deref(), Some("/"));
        assert_eq!(named(b"\xff\0a\0", 2, 1).path.as_deref(), Some("/a/\u{fffd}"));
        let unknown = types::name_event { path_origin: 9, ..Default::default() };
        assert_eq!(decoder().file(&unknown).path, None);
    }
}
