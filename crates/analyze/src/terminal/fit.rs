//! Width of the terminal, and the columns that fit into it.

use std::io::IsTerminal;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::Cell;

/// Columns that are left out of a table that is too wide, least important first. Files (`--out`) have all columns. Numbers that others give nearly as well come
/// before those that nothing else gives.
const LEAST_IMPORTANT: &[&str] = &[
    "ID",
    "COMMAND",
    "LITTLE",
    "STRIDE",
    "IDC 1s",
    "IDC 100ms",
    "BLOCKS",
    "UNUSED",
    "f_await",
    "d/s",
    "%rrqm",
    "%wrqm",
    "rareq-sz",
    "wareq-sz",
    "P99.9",
    "P90",
    "BIOS/REQ",
    "CACHED",
    "UNKNOWN",
    "RUNNABLE",
    "HIT CALLS",
    "DIRTIED",
    "COMMITS",
    "BLK_R_OPS",
    "BLK_W_OPS",
    "STRIDED",
    "IDC 1ms",
    "VFS_R",
    "VFS_W",
    "LOST",
    "OVERWRITTEN",
    "FILLED",
    "REST",
    "REQUESTS",
    "AVG",
    "MAX",
    "KIND",
    "INTERARRIVAL",
    "f/s",
    "AHEAD",
    "P50",
    "MARKS",
    "UNIQUE",
    "DIR",
    "aqu-sz",
    "IN_FLIGHT",
];

/// Spaces between two columns.
const BETWEEN: usize = 2;

/// Width of the terminal; 0: standard output is none.
static WIDTH: AtomicUsize = AtomicUsize::new(0);

/// Fits tables into the width of the terminal, if standard output is one. Called once, before the first table.
pub fn to_terminal() {
    let output = std::io::stdout();
    if let Some(size) = output.is_terminal().then(|| rustix::termios::tcgetwinsize(&output).ok()).flatten() {
        WIDTH.store(usize::from(size.ws_col), Relaxed);
    }
}

/// Width into which tables are fitted, if any.
pub fn width() -> Option<usize> {
    Some(WIDTH.load(Relaxed)).filter(|width| *width > 0)
}

/// Returns the indexes of the columns that fit into `width`, and the names of the others.
pub fn columns<'a>(header: &[&'a str], rows: &[Vec<Cell>], width: usize) -> (Vec<usize>, Vec<&'a str>) {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width_of).collect();
    let mut kept: Vec<usize> = (0..header.len()).collect();
    let mut dropped = Vec::new();
    for name in LEAST_IMPORTANT.iter().copied() {
        // A space after the last column.
        let all = 1 + kept.iter().map(|column| widths[*column]).sum::<usize>() + BETWEEN * kept.len().saturating_sub(1);
        if all <= width {
            break;
        }
        if let Some(place) = kept.iter().position(|column| header[*column] == name) {
            dropped.push(header[kept.remove(place)]);
        }
    }
    (kept, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_important_columns_go_first_and_only_as_many_as_must() {
        let cell = |text: &str| Cell { text: text.to_owned(), is_marked: false };
        let rows = [vec![cell("dd"), cell("320@1795339690388854073"), cell("12"), cell("300 µs"), cell("1.50")]];
        let header = ["NAME", "ID", "OPS", "P99.9", "AMP"];
        let fitted = |width| {
            let (kept, dropped) = columns(&header, &rows, width);
            (kept.into_iter().map(|column| header[column]).collect::<Vec<_>>().join(" "), dropped.join(" "))
        };
        let of = |kept: &str, dropped: &str| (kept.to_owned(), dropped.to_owned());
        assert_eq!(fitted(49), of("NAME ID OPS P99.9 AMP", ""));
        assert_eq!(fitted(48), of("NAME OPS P99.9 AMP", "ID"));
        assert_eq!(fitted(20), of("NAME OPS AMP", "ID P99.9"));
        assert_eq!(fitted(1), of("NAME OPS AMP", "ID P99.9"));
    }
}
