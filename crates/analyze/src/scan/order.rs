//! Processing of time ranges in time order, while their rows are read.

use iostrata_capture::op::Layer;

use super::Fold;
use super::time_ranges::{TimeRanges, Whole};
use crate::aggregate::Settings;
use crate::aggregate::crossing::Walk as Crossings;
use crate::aggregate::in_order::{Opened, States};
use crate::aggregate::sequence::{Owners, Sequence, Span};

/// Consecutive time ranges with operations to be processed in time order.
pub struct Order {
    /// Rows of the time ranges.
    pub stretches: TimeRanges,
    walks: Vec<(Layer, Vec<Box<dyn Opened>>)>,
    crossing: Option<Crossings>,
}

impl Order {
    /// Processes all remaining time ranges before number `until`.
    fn pass(&mut self, until: usize, owners: &Owners) {
        while let Some(Whole { span, mut points, crossed }) = self.stretches.next_before(until) {
            for (layer, walks) in &mut self.walks {
                let points = std::mem::take(&mut points[*layer as usize]).in_order();
                walks.iter_mut().for_each(|walk| walk.add(&points, span, owners));
            }
            if let Some(walk) = &mut self.crossing {
                walk.add(crossed.all(), span, owners);
            }
        }
    }
}

impl Fold<'_> {
    /// Whether requests are matched to calls.
    pub(super) fn crosses(&self) -> bool {
        self.settings.crossing && self.order.is_some()
    }

    /// Restricts the following rows to these time ranges, and processes those of `layers` in time order.
    pub fn begin_stretches(&mut self, spans: Vec<Span>, layers: &[Layer]) {
        let Settings { in_order, precision, crossing, .. } = &self.settings;
        let layers = layers.iter().filter(|_| !in_order.is_empty());
        let walks = layers.map(|layer| (*layer, in_order.open(*layer, *precision)));
        let crossing = crossing.then(|| Crossings::new(*precision));
        self.order = Some(Order { stretches: TimeRanges::new(spans), walks: walks.collect(), crossing });
    }

    /// Processes all remaining time ranges before number `until`, which are complete.
    pub fn pass_stretches(&mut self, until: usize) {
        let Fold { order, partial, .. } = self;
        let owners = Owners { systems: &partial.names(), entities: &partial.entities };
        order.iter_mut().for_each(|order| order.pass(until, &owners));
    }

    /// Returns the sequence of each processed layer over all time ranges.
    pub fn end_stretches(&mut self) -> Vec<(Layer, Sequence)> {
        self.pass_stretches(usize::MAX);
        let Some(Order { walks, crossing, .. }) = self.order.take() else { return Vec::new() };
        let owners = Owners { systems: &self.partial.names(), entities: &self.partial.entities };
        let close = |walks| Sequence { states: States::of(walks, &owners), crossing: None };
        let mut sequences: Vec<_> = walks.into_iter().map(|(layer, walks)| (layer, close(walks))).collect();
        let crossing = crossing.and_then(|walk| walk.finish(&owners));
        if crossing.is_some() {
            // Whatever they wait for, the counted operations are calls.
            match sequences.iter_mut().find(|(layer, _)| *layer == Layer::Syscall) {
                Some((_, sequence)) => sequence.crossing = crossing,
                None => sequences.push((Layer::Syscall, Sequence { crossing, ..Sequence::default() })),
            }
        }
        sequences
    }
}
