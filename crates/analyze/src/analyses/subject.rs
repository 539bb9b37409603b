//! Subjects of rows: all operations, those of a system, or those on a disk.

use std::sync::Arc;

use crate::aggregate::sequence::Subject;
use crate::frame::ResultColumn;
use crate::names::Names;

/// Names of a subject.
pub struct Named {
    /// Scope of the subject.
    pub scope: &'static str,
    /// Name; empty for `all`.
    pub name: String,
    /// Id; empty where there is none.
    pub id: String,
    /// Recorded machine of an entity; else empty.
    pub host: Arc<str>,
}

impl Named {
    /// Returns the names of `subject`.
    pub fn of(subject: &Subject, names: &Names) -> Named {
        match subject {
            Subject::All => Named { scope: "all", name: String::new(), id: String::new(), host: Arc::default() },
            Subject::System(name) => {
                Named { scope: "system", name: name.clone(), id: String::new(), host: Arc::default() }
            }
            Subject::Entity(entity) => {
                let (name, id) = names.of(entity);
                Named { scope: entity.scope().name(), name, id, host: names.host(entity) }
            }
        }
    }
}

/// Minimum for a rate. Few operations in a short time have none: two calls of a program would yield tens of thousands per second.
const LEAST_OPS: u64 = 100;
const LEAST_NS: u128 = 1_000_000_000;

/// Operations per second; none below both minimums.
pub fn ops_per_s(ops: u64, span_ns: u128) -> Option<f64> {
    let enough = ops >= LEAST_OPS || span_ns >= LEAST_NS;
    (span_ns > 0 && enough).then(|| ops as f64 * 1e9 / span_ns as f64)
}

/// Columns that identify the subject of a row.
pub fn columns<R>(of: impl Fn(&R) -> (&Named, &'static str) + Copy + 'static) -> Vec<ResultColumn<R>> {
    vec![
        ResultColumn::text("scope", "`all`, `system` or `device`.", move |row| of(row).0.scope),
        ResultColumn::text("layer", "`syscall`, `vfs` or `block`.", move |row| of(row).1),
        ResultColumn::text("name", "Name of the system or of the disk; empty for `all`.", move |row| &of(row).0.name),
        ResultColumn::text("id", "Device number of a disk, `major:minor`; else empty.", move |row| &of(row).0.id),
        host(move |row| &of(row).0.host),
    ]
}

/// Column with the recorded machine of an entity: captures of several machines may have the same ids.
pub fn host<R>(of: impl Fn(&R) -> &str + 'static) -> ResultColumn<R> {
    ResultColumn::text("host", "Host name of the recorded machine; empty for rows that are of no single machine.", of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_takes_a_second_or_a_hundred_operations() {
        // Two writes 39 µs apart are not 50,711 operations per second.
        assert_eq!(ops_per_s(2, 39_439), None);
        assert_eq!(ops_per_s(LEAST_OPS - 1, LEAST_NS - 1), None);
        assert_eq!(ops_per_s(2, LEAST_NS), Some(2.0));
        assert_eq!(ops_per_s(LEAST_OPS, LEAST_NS / 10), Some(1000.0));
        assert_eq!(ops_per_s(LEAST_OPS, 0), None);
    }
}
