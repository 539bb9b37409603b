//! Merge laws: for any partition and order, the CSV files have the same bytes.

use iostrata_capture::TableId;
use proptest::prelude::*;

use super::*;
use crate::aggregate::Precision;
use crate::aggregate::count::Moved;
use crate::aggregate::flow::Step;
use crate::aggregate::sample::Sample;
use crate::analyses::{latency, summary};
use crate::entity::{CaptureNumber, Entity, Places, Scope};
use crate::event::{Durations, PHASES, Phase, UNKNOWN};
use crate::frame;
use crate::trust::Trust;
use crate::valid::Checked;
use iostrata_capture::op::{Direction, IoClass, Layer, Op};

/// Few values before a histogram, so that small tests cover both forms and the transition.
const PRECISION: Precision = Precision::Histogram { above: 8 };

#[derive(Debug, Clone)]
struct Row {
    system: &'static str,
    layer: Layer,
    op: Op,
    direction: Option<Direction>,
    ops: u64,
    bytes: u64,
    durations: Durations,
    dev: i32,
}

fn row() -> impl Strategy<Value = Row> {
    let who = prop::sample::select(vec!["etcd", "MinIO", "kworker", "with \"quotes\", and comma"]);
    let layer = prop::sample::select(Layer::ALL);
    let op = prop::sample::select(vec![Op::Read, Op::Write, Op::Fsync]);
    let direction = prop::option::of(prop::sample::select(vec![Direction::Read, Direction::Write]));
    let ops = prop_oneof![Just(1u64), Just(8u64)];
    let known = (0u32..63, any::<u64>()).prop_map(|(b, v)| v >> 1 >> b);
    let durations = prop::array::uniform4(prop_oneof![known, Just(UNKNOWN)]);
    (who, layer, op, direction, any::<u64>(), durations, 0..3i32, ops).prop_map(
        |(system, layer, op, direction, bytes, durations, dev, ops)| Row {
            system,
            layer,
            op,
            direction,
            ops,
            bytes,
            durations,
            dev,
        },
    )
}

fn fold<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Partial {
    let mut partial = Partial::default();
    for Row { system, layer, op, direction, ops, bytes, durations, dev } in rows.into_iter().cloned() {
        let total = durations[Phase::Total as usize];
        let (timed, ns) = if total == UNKNOWN { (0, 0) } else { (ops, total) };
        let moved = Moved { ops, bytes, timed, sum_ns: u128::from(ns) * u128::from(ops) };
        let slot = partial.slot(system);
        partial.system(slot).counts.add(layer, direction, &moved);
        for phase in &Phase::ALL[..PHASES] {
            let mut sample = Sample::empty(PRECISION);
            match durations[*phase as usize] {
                UNKNOWN => sample.update_untimed(ops),
                ns => sample.update(ns, ops),
            }
            partial.system(slot).latency.add((layer, op, *phase), Box::new(sample));
        }
        partial.memory.add(layer, direction, &moved);
        let places = Scope::ALL.map(|scope| match scope {
            Scope::Process => Entity::Process(CaptureNumber::default(), dev, 7),
            Scope::Device => Entity::Device(CaptureNumber::new(1, ""), dev),
            _ => Entity::Nobody(scope, IoClass::Data),
        });
        let places = Places(places.map(|entity| partial.entities.place(entity)));
        partial.entities.count(places, (layer, direction), &moved);
        if let Some(direction) = direction {
            partial.system(slot).flows.add(direction, Step::Cache { mapped: false }, bytes);
            partial.entities.add(places, (direction, Step::Cache { mapped: false }, bytes));
        }
        partial.left_out.add(CaptureNumber::default(), dev, direction, (bytes, ops));
        partial.during.add(CaptureNumber::new(dev as usize, ""), TableId::Block, vec![0, bytes]);
        partial.checked.combine(Checked {
            negative_durations: 1,
            late_ends: bytes,
            negative_bytes: dev as u64,
            great_bytes: 3,
            bad_weights: 2,
            all_bytes: bytes.into(),
            all_ns: u128::MAX / 100,
        });
        partial.sampled.add(ops);
        partial.rows += 1;
    }
    partial
}

/// All contents of a partial result, as text.
fn result(partial: Partial) -> String {
    let finished = partial.finish(&Settings::new(PRECISION), &[3, 0, 40, u64::MAX], Default::default());
    let trust = Trust {
        captured: [true; Layer::ALL.len()],
        lost_io: [Some(Default::default()); Layer::ALL.len()],
        ..Trust::default()
    };
    let columns = summary::columns(trust.lost_io);
    let mut text = Vec::new();
    for mut frame in [
        frame::frame(&columns, &summary::rows(&finished, &trust).collect::<Vec<_>>()).expect("declared columns"),
        frame::frame(&latency::columns(), &latency::rows(&finished, &trust).collect::<Vec<_>>())
            .expect("declared columns"),
    ] {
        frame::csv(&mut frame, &mut text, polars::prelude::QuoteStyle::Necessary).expect("room");
    }
    let Finished { memory, checked, left_out, during, rows, entities, active, .. } = finished;
    let active: Vec<_> = active
        .iter()
        .map(|(entity, activity)| (entity, Layer::ALL.iter().map(|layer| activity.all(*layer)).collect::<Vec<_>>()))
        .collect();
    format!(
        "{}{memory:?}{checked:?}{left_out:?}{during:?}{rows}{entities:?}{active:?}",
        String::from_utf8(text).expect("UTF-8")
    )
}

fn combined(partials: impl IntoIterator<Item = Partial>) -> Partial {
    let mut sum = Partial::default();
    partials.into_iter().for_each(|partial| sum.combine(partial));
    sum
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(row(), 0..120)
}

proptest! {
    #[test]
    fn any_partition_of_the_rows_in_any_order_gives_the_same_bytes(
        tagged in prop::collection::vec((row(), 0..5usize), 0..120),
        order in Just([0, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let whole = fold(tagged.iter().map(|(row, _)| row));
        let part = |tag: usize| fold(tagged.iter().filter(|(_, t)| *t == tag).map(|(row, _)| row));
        prop_assert_eq!(result(combined(order.map(part))), result(whole));
    }

    #[test]
    fn combine_is_associative_and_commutative(a in rows(), b in rows(), c in rows()) {
        let [a, b, c] = [a, b, c].map(|rows| fold(&rows));
        let left = combined([combined([a.clone(), b.clone()]), c.clone()]);
        let right = combined([a.clone(), combined([b.clone(), c.clone()])]);
        prop_assert_eq!(result(left), result(right));
        prop_assert_eq!(result(combined([a.clone(), b.clone()])), result(combined([b, a])));
    }

    #[test]
    fn the_empty_partial_changes_nothing(rows in rows()) {
        let partial = fold(&rows);
        let mut with_empty = partial.clone();
        with_empty.combine(Partial::default());
        prop_assert_eq!(result(with_empty), result(partial));
    }
}
