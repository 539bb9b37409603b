//! Chart axes: scales, ticks and tick labels.

/// Unit of the values of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Duration,
    /// A share from 0 to 1, labeled in percent.
    Share,
    /// A ratio without a unit.
    Ratio,
}

/// Units and their sizes, largest first.
const BYTES: [(f64, &str); 5] =
    [(1_099_511_627_776.0, "TiB"), (1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1_024.0, "KiB"), (1.0, "B")];
const DURATIONS: [(f64, &str); 7] =
    [(86_400e9, "d"), (3_600e9, "h"), (60e9, "min"), (1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
const COUNTS: [(f64, &str); 4] = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];

impl Unit {
    /// Returns the divisor and the unit symbol for values up to `most`.
    fn scale(self, most: f64) -> (f64, &'static str) {
        let units: &[(f64, &str)] = match self {
            Unit::Count => &COUNTS,
            Unit::Bytes => &BYTES,
            Unit::Duration => &DURATIONS,
            Unit::Share => &[(0.01, "%")],
            Unit::Ratio => &[(1.0, "")],
        };
        let last = units.last().copied().unwrap_or((1.0, ""));
        units.iter().copied().find(|(size, _)| most >= *size).unwrap_or(last)
    }

    /// Formats a value with its unit.
    pub fn write(self, value: f64) -> String {
        self.write_as(value, self.scale(value))
    }

    fn write_as(self, value: f64, (size, unit): (f64, &str)) -> String {
        let number = (value / size * 1_000.0).round() / 1_000.0;
        let space = if unit.is_empty() || self == Unit::Count { "" } else { " " };
        format!("{number}{space}{unit}")
    }
}

/// Mapping from values to axis positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Log10,
    Log2,
    /// For shares: -log10(1 - share). Each further nine takes the same length.
    Tail,
}

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Axis label.
    pub name: String,
    /// Positions of both ends.
    pub ends: (f64, f64),
    /// Positions and labels of the ticks.
    pub ticks: Vec<(f64, String)>,
    scale: Scale,
}

/// Maximum length of a label in characters; longer labels are shortened.
const LONGEST_LABEL: usize = 20;

impl Axis {
    /// Creates a linear axis from 0 to `most`.
    pub fn linear(name: &str, most: f64, unit: Unit) -> Axis {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let (size, word) = unit.scale(most);
        let step = round_step(most / size / 4.0) * size;
        let ticks = (0..).map(|number| f64::from(number) * step).take_while(|at| *at <= most * 1.000_001);
        let ticks =
            ticks.map(|at| (at, if at == 0.0 { "0".to_owned() } else { unit.write_as(at, (size, word)) })).collect();
        Axis { name: name.to_owned(), ends: (0.0, most * 1.04), ticks, scale: Scale::Linear }
    }

    /// Creates a logarithmic axis between powers of ten that covers `least` to `most`.
    pub fn log(name: &str, (least, most): (f64, f64), unit: Unit) -> Axis {
        Axis::of_powers(name, (least.max(1.0).log10(), most.max(1.0).log10()), (Scale::Log10, 10.0), unit)
    }

    /// Creates a logarithmic axis between powers of two; see [`Axis::log`].
    pub fn powers_of_two(name: &str, (least, most): (f64, f64), unit: Unit) -> Axis {
        Axis::of_powers(name, (least.max(1.0).log2(), most.max(1.0).log2()), (Scale::Log2, 2.0), unit)
    }

    fn of_powers(name: &str, (least, most): (f64, f64), (scale, base): (Scale, f64), unit: Unit) -> Axis {
        let first = least.floor() as i32;
        let last = (most.ceil() as i32).max(first + 1);
        let step = ((last - first + 5) / 6).max(1);
        let ticks = (first..=last).step_by(step.unsigned_abs() as usize);
        let ticks = ticks.map(|power| (f64::from(power), unit.write(base.powi(power)))).collect();
        Axis { name: name.to_owned(), ends: (f64::from(first), f64::from(last)), ticks, scale }
    }

    /// Creates an axis of shares with `nines` nines.
    pub fn tail(name: &str, nines: u8) -> Axis {
        let nines = nines.clamp(1, 6);
        let half = (0.5, "50 %".to_owned());
        let labels = (1..=nines).map(|nines| {
            let share = 1.0 - 10f64.powi(-i32::from(nines));
            (share, format!("{:.*} %", usize::from(nines.saturating_sub(2)), share * 100.0))
        });
        let place = |share: f64| Scale::Tail.place(share);
        let ticks = std::iter::once(half).chain(labels).map(|(share, label)| (place(share), label)).collect();
        Axis { name: name.to_owned(), ends: (0.0, f64::from(nines) + 0.1), ticks, scale: Scale::Tail }
    }

    /// Creates a categorical axis. Each category takes a length of 1. With `top_down` the first one has the highest position, the
    /// top of a vertical axis.
    pub fn things(name: &str, labels: &[String], top_down: bool) -> Axis {
        let count = labels.len().max(1);
        let place = |index: usize| 0.5 + if top_down { count - 1 - index } else { index } as f64;
        // A horizontal axis has room for about 8 labels.
        let every = if top_down { 1 } else { count.div_ceil(8) };
        let ticks = labels.iter().enumerate().step_by(every).map(|(index, label)| (place(index), cut(label))).collect();
        Axis { name: name.to_owned(), ends: (0.0, count as f64), ticks, scale: Scale::Linear }
    }

    /// Returns the position of a value.
    pub fn place(&self, value: f64) -> f64 {
        self.scale.place(value).clamp(self.ends.0, self.ends.1)
    }

    /// Returns the label of the tick nearest to a position.
    pub fn label(&self, place: f64) -> String {
        let apart = |(at, _): &&(f64, String)| (at - place).abs();
        let nearest = self.ticks.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)));
        nearest.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log10 => value.max(1.0).log10(),
            Scale::Log2 => value.max(1.0).log2(),
            Scale::Tail => -(1.0 - value).max(1e-9).log10(),
        }
    }
}

/// Rounds `step` up to 1, 2 or 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|times| times * power)
        .find(|round| *round >= step * 0.999_999)
        .unwrap_or(10.0 * power)
}

/// Shortens a long name to its end: paths often share their beginning.
fn cut(label: &str) -> String {
    let length = label.chars().count();
    if length <= LONGEST_LABEL {
        return label.to_owned();
    }
    std::iter::once('…').chain(label.chars().skip(length + 1 - LONGEST_LABEL)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_in_the_unit_that_is_written() {
        assert_eq!(labels(&Axis::linear("x", 3_500_000.0, Unit::Bytes)), ["0", "1 MiB", "2 MiB", "3 MiB"]);
        assert_eq!(labels(&Axis::linear("x", 0.9, Unit::Share)), ["0", "50 %"]);
        assert_eq!(labels(&Axis::linear("x", 90e9, Unit::Duration)), ["0", "0.5 min", "1 min", "1.5 min"]);
        assert_eq!(labels(&Axis::log("x", (3e3, 2e6), Unit::Duration)), ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms"]);
        assert_eq!(labels(&Axis::powers_of_two("x", (4096.0, 65536.0), Unit::Bytes))[0], "4 KiB");
        assert_eq!(labels(&Axis::tail("x", 4)), ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn nothing_and_what_cannot_be_have_an_axis_too() {
        for most in [0.0, f64::NAN, f64::INFINITY, -1.0, f64::MIN_POSITIVE] {
            let axis = Axis::linear("x", most, Unit::Count);
            assert!(!axis.ticks.is_empty() && axis.ticks.len() < 20 && axis.ends.1 > axis.ends.0, "{most}: {axis:?}");
        }
        let axis = Axis::log("x", (0.0, 0.0), Unit::Duration);
        assert!(axis.ends.1 > axis.ends.0 && axis.place(0.0) == axis.ends.0);
        assert_eq!(Axis::things("x", &[], true).ends, (0.0, 1.0));
    }

    #[test]
    fn long_names_show_their_ends() {
        let label = cut("/var/lib/postgresql/16/main/base/5/16384");
        assert_eq!((label.chars().count(), label.ends_with("/base/5/16384")), (20, true));
    }
}
