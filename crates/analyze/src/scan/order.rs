//! Stretches of time of which the order of operations is looked at, while their rows are read.

use iostrata_capture::op::Layer;

use super::Fold;
use super::stretches::{Stretches, Whole};
use crate::aggregate::Settings;
use crate::aggregate::crossing::Walk as Crossings;
use crate::aggregate::sequence::{Owners, Sequence, Span, Walk};

/// Stretches of time that follow each other, of which the order of operations is looked at.
pub struct Order {
    /// What rows leave in them.
    pub stretches: Stretches,
    walks: Vec<(Layer, Walk)>,
    crossing: Option<Crossings>,
}

impl Order {
    /// Looks at the order of all stretches before stretch `until` that it was not looked at yet.
    fn pass(&mut self, until: usize, owners: &Owners) {
        while let Some(Whole { span, mut points, crossed }) = self.stretches.next_before(until) {
            for (layer, walk) in &mut self.walks {
                walk.add(&std::mem::take(&mut points[*layer as usize]).in_order(), span, owners);
            }
            if let Some(walk) = &mut self.crossing {
                walk.add(crossed.all(), span, owners);
            }
        }
    }
}

impl Fold<'_> {
    /// Whether it is looked at what calls wait for.
    pub(super) fn crosses(&self) -> bool {
        self.settings.ordered.crossing && self.order.is_some()
    }

    /// From now on rows are taken of these stretches of time alone, and the order of those of `layers` is looked at.
    pub fn begin_stretches(&mut self, spans: Vec<Span>, layers: &[Layer]) {
        let Settings { ordered, precision, .. } = self.settings;
        let walks =
            layers.iter().filter(|_| ordered.of_layers()).map(|layer| (*layer, Walk::new(*layer, &self.settings)));
        let crossing = ordered.crossing.then(|| Crossings::new(precision));
        self.order = Some(Order { stretches: Stretches::new(spans), walks: walks.collect(), crossing });
    }

    /// Looks at the order of all stretches before stretch `until`, of which there is nothing more to come.
    pub fn pass_stretches(&mut self, until: usize) {
        let Fold { order, partial, .. } = self;
        let owners = Owners { systems: &partial.names(), entities: &partial.entities };
        order.iter_mut().for_each(|order| order.pass(until, &owners));
    }

    /// The sequence of each layer whose order was looked at, of all stretches together.
    pub fn end_stretches(&mut self) -> Vec<(Layer, Sequence)> {
        self.pass_stretches(usize::MAX);
        let Some(Order { walks, crossing, .. }) = self.order.take() else { return Vec::new() };
        let owners = Owners { systems: &self.partial.names(), entities: &self.partial.entities };
        let mut sequences: Vec<_> = walks.into_iter().map(|(layer, walk)| (layer, walk.finish(&owners))).collect();
        let crossing = crossing.and_then(|walk| walk.finish(&owners));
        if crossing.is_some() {
            // Whatever else they wait for, they are calls.
            match sequences.iter_mut().find(|(layer, _)| *layer == Layer::Syscall) {
                Some((_, sequence)) => sequence.crossing = crossing,
                None => sequences.push((Layer::Syscall, Sequence { crossing, ..Sequence::default() })),
            }
        }
        sequences
    }
}
