//! Heatmap of latency over time, drawn with characters.

use std::collections::BTreeMap;

use iostrata_capture::Capture;
use iostrata_capture::op::{Direction, Layer};

use crate::analyses::heatmap::aggregate::{Finished, ends_of};
use crate::analyses::summary::word;
use crate::terminal::{Shown, duration};
use crate::time::utc;
use crate::trust::Trust;

/// Maximum number of columns of a drawing.
const COLUMNS: usize = 80;

/// Characters from few operations to many.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

/// Operations by latency class and column.
type Drawing = BTreeMap<u32, Vec<u64>>;

/// Draws the lowest captured layer, reads and writes. Times are those of the first capture.
pub fn table(heatmap: &Finished, captures: &[Capture], trust: &Trust) -> Shown {
    let mut text = String::new();
    let has =
        |layer: &Layer| trust.captured[*layer as usize] && heatmap.durations.iter().any(|((of, ..), _)| of == layer);
    if let Some(layer) = Layer::ALL.iter().rev().find(|layer| has(layer)) {
        for direction in [Direction::Read, Direction::Write] {
            draw(&mut text, heatmap, (*layer, direction), captures);
        }
    }
    Shown { text, is_marked: false }
}

fn draw(text: &mut String, heatmap: &Finished, way: (Layer, Direction), captures: &[Capture]) {
    let times = heatmap.durations.iter().map(|((_, _, since_ns, _), _)| *since_ns);
    let (Some(first_ns), Some(last_ns)) = (times.clone().min(), times.max()) else { return };
    let windows = last_ns.abs_diff(first_ns) / heatmap.width_ns.max(1) + 1;
    let together = windows.div_ceil(COLUMNS as u64).max(1);
    let columns = usize::try_from(windows.div_ceil(together)).unwrap_or(COLUMNS);
    let mut drawing = Drawing::new();
    for ((layer, direction, since_ns, class), cell) in heatmap.durations.iter().copied() {
        if (layer, direction) == way {
            let column = since_ns.abs_diff(first_ns) / heatmap.width_ns.max(1) / together;
            let row = drawing.entry(class).or_insert_with(|| vec![0; columns]);
            let place = &mut row[usize::try_from(column).unwrap_or(0).min(columns - 1)];
            *place = place.saturating_add(cell.ops);
        }
    }
    let Some((least, greatest)) = drawing.keys().next().copied().zip(drawing.keys().last().copied()) else { return };
    let most = drawing.values().flatten().copied().max().unwrap_or(1);
    let (layer, direction) = way;
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("{layer} {}: up to {most} operations per cell\n", word(direction)));
    for class in (least..=greatest).rev() {
        let row = drawing.get(&class).cloned().unwrap_or_else(|| vec![0; columns]);
        let shades: String = row.iter().map(|ops| shade(*ops, most)).collect();
        text.push_str(format!("{:>8} │{shades}", duration(ends_of(class).0)).trim_end());
        text.push('\n');
    }
    text.push_str(&format!("{:>8} └{}\n", "", "─".repeat(columns)));
    if let Some(capture) = captures.first() {
        let width_ns = heatmap.width_ns.saturating_mul(together);
        text.push_str(&format!("{:>10}{}, {} per column\n", "", utc(capture, first_ns), duration(width_ns)));
    }
}

/// Logarithmic, so that a few slow operations are visible beside many fast ones.
fn shade(ops: u64, most: u64) -> char {
    match ops {
        0 => ' ',
        _ => {
            let share = (ops as f64).ln_1p() / (most as f64).ln_1p();
            SHADES[((share * SHADES.len() as f64).ceil() as usize).clamp(1, SHADES.len()) - 1]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_are_the_darker_it_is() {
        assert_eq!([0, 1, 30, 300, 1_000].map(|ops| shade(ops, 1_000)), [' ', '░', '▒', '█', '█']);
        assert_eq!(shade(1, 1), '█');
    }
}
