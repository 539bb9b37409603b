//! Pieces by their first sector.

use std::collections::BTreeMap;

use super::piece::{Piece, after};
use super::record::Kind;

/// Maximum number of pieces per disk. More are never in flight at once: completions of the oldest are missing.
const MOST_PIECES: usize = 1 << 17;

/// Pieces that wait for their next record; those at one sector are ordered by age, oldest first.
#[derive(Debug, Default)]
pub struct Pieces {
    by_sector: BTreeMap<u64, Vec<Piece>>,
    count: usize,
    /// Number of pieces dropped because there were too many.
    pub forgotten: u64,
}

impl Pieces {
    /// Returns their number.
    pub fn count(&self) -> u64 {
        self.count as u64
    }

    /// Adds a piece.
    pub fn put(&mut self, piece: Piece) {
        if self.count == MOST_PIECES {
            self.forget_older_half();
        }
        self.by_sector.entry(piece.sector).or_default().push(piece);
        self.count += 1;
    }

    /// Whether a piece at `sector` satisfies `fits`.
    pub fn has(&self, sector: u64, fits: impl Fn(&Piece) -> bool) -> bool {
        self.by_sector.get(&sector).is_some_and(|pieces| pieces.iter().any(fits))
    }

    /// Takes a piece at `sector` that satisfies `fits`. The newest one: a piece with a missing completion must not take the completions of all
    /// later ones there. Of pieces without a position the oldest, because many are in flight at once and none may wait forever.
    pub fn take(&mut self, sector: u64, fits: impl Fn(&Piece) -> bool) -> Option<Piece> {
        let pieces = self.by_sector.get_mut(&sector)?;
        let newest = pieces.iter().rposition(&fits)?;
        let has_place = pieces.get(newest).is_some_and(|piece| piece.kind.has_bios() && piece.bytes > 0);
        let found = if has_place { newest } else { pieces.iter().position(&fits)? };
        let piece = pieces.remove(found);
        if pieces.is_empty() {
            self.by_sector.remove(&sector);
        }
        self.count -= 1;
        Some(piece)
    }

    /// Takes the request of this size at `sector`, joined from all pieces that were merged into it: consecutive ones, and those after gaps without
    /// records.
    pub fn take_range(&mut self, kind: Kind, sector: u64, bytes: u64) -> Option<Piece> {
        let mut whole: Option<Piece> = None;
        let (mut at, mut left) = (sector, bytes);
        loop {
            let exact = |piece: &Piece| piece.kind == kind && piece.bytes == left;
            let part = |piece: &Piece| piece.kind == kind && piece.bytes < left && piece.bytes > 0;
            match self.take(at, exact).or_else(|| self.take(at, part)) {
                Some(piece) => {
                    left -= piece.bytes;
                    at = after(at, piece.bytes.max(1));
                    whole = Some(whole.map_or(piece, |whole| whole.join(piece)));
                }
                None => {
                    let end = after(at, left);
                    let fits = |piece: &Piece| piece.kind == kind && piece.bytes > 0 && piece.end() <= end;
                    let mut behind = self.by_sector.range(at..end).filter(|(start, _)| **start > at);
                    let Some(next) = behind.find(|(_, pieces)| pieces.iter().any(fits)).map(|(start, _)| *start) else {
                        break;
                    };
                    left = left.saturating_sub((next - at).saturating_mul(512));
                    at = next;
                }
            }
            if left == 0 {
                break;
            }
        }
        let mut whole = whole?;
        (whole.sector, whole.bytes) = (sector, bytes);
        Some(whole)
    }

    /// Drops the half that has waited longest.
    fn forget_older_half(&mut self) {
        let mut met: Vec<u64> = self.by_sector.values().flatten().map(|piece| piece.met).collect();
        let (_, median, _) = met.select_nth_unstable(MOST_PIECES / 2);
        let median = *median;
        let before = self.count;
        self.by_sector.retain(|_, pieces| {
            pieces.retain(|piece| piece.met > median);
            !pieces.is_empty()
        });
        self.count = self.by_sector.values().map(Vec::len).sum();
        self.forgotten = self.forgotten.saturating_add((before - self.count) as u64);
    }
}
