//! Positions of the variable pieces in footers with the same columns: a footer can be assembled from the row groups of others,
//! without all of them in memory at once.

use std::ops::Range;

use super::{FOOTER, Flaw, GROUPS, ROW_GROUP, ROWS, Shape, Walker};

/// Positions in a footer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::part) struct Pieces {
    /// Number of rows.
    pub(in crate::part) rows: Range<usize>,
    /// List of row groups, with its header.
    pub(in crate::part) list: Range<usize>,
    /// Row groups in the list.
    pub(in crate::part) groups: Range<usize>,
    /// Number of row groups.
    pub(in crate::part) count: u64,
}

/// Returns the positions in the footer `thrift`, which is checked as by [`super::footer`].
pub(in crate::part) fn pieces(thrift: &[u8]) -> Result<Pieces, Flaw> {
    let Shape::Struct(fields) = FOOTER else { return Err(Flaw::Short) };
    super::footer(thrift)?;
    let mut walker = Walker { rest: thrift, path: Vec::new(), visit: &mut |_, _| {} };
    let at = |walker: &Walker<'_, '_>| thrift.len() - walker.rest.len();
    let (mut pieces, mut last) = (Pieces::default(), 0);
    while let Some((number, shape)) = walker.field(fields, last)? {
        let begin = at(&walker);
        if number == GROUPS {
            pieces.count = walker.list_head(&ROW_GROUP)?;
            let first = at(&walker);
            (0..pieces.count).try_for_each(|_| walker.value(&ROW_GROUP))?;
            pieces.groups = first..at(&walker);
            pieces.list = begin..at(&walker);
        } else {
            walker.value(shape)?;
            if number == ROWS {
                pieces.rows = begin..at(&walker);
            }
        }
        walker.path.pop();
        last = number;
    }
    match pieces.rows.is_empty() || pieces.list.is_empty() {
        true => Err(Flaw::Wrong("has no row count or no row groups".to_owned())),
        false => Ok(pieces),
    }
}
