//! Merge laws: whatever the partition and the order, the CSV files have the same bytes.

use proptest::prelude::*;

use super::*;
use crate::aggregate::Precision;
use crate::aggregate::flow::Step;
use crate::entity::{Entity, Places, Scope};
use crate::event::{Durations, Phase};
use crate::scan::Source;
use crate::trust::Trust;
use crate::{frame, latency, summary};
use iostrata_capture::op::{Direction, IoClass, Layer, Op};

/// Few values before a histogram, so that small tests have both forms and the change between them.
const SETTINGS: Settings = Settings { precision: Precision::Histogram { above: 8 } };

#[derive(Debug, Clone)]
struct Row {
    system: &'static str,
    event: Event,
    dev: i32,
}

fn row() -> impl Strategy<Value = Row> {
    let who = prop::sample::select(vec!["etcd", "MinIO", "kworker", "with \"quotes\", and comma"]);
    let layer = prop::sample::select(Layer::ALL);
    let op = prop::sample::select(vec![Op::Read, Op::Write, Op::Fsync]);
    let direction = prop::option::of(prop::sample::select(vec![Direction::Read, Direction::Write]));
    let weight = prop_oneof![Just(1u64), Just(8u64)];
    let durations = prop::array::uniform4(prop::option::of((0u32..64, any::<i64>()).prop_map(|(b, v)| v >> b)));
    (who, layer, op, direction, any::<u64>(), durations, 0..3i32, weight).prop_map(
        |(system, layer, op, direction, bytes, ns, dev, weight)| {
            let mut durations = Durations::default();
            for (phase, ns) in Phase::ALL.iter().zip(ns) {
                durations.set(*phase, ns, &mut Anomalies::default());
            }
            Row { system, event: Event { layer, op, direction, bytes, durations, weight }, dev }
        },
    )
}

fn fold<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Partial {
    let mut partial = Partial::empty(SETTINGS);
    for row in rows {
        let slot = partial.slot(row.system);
        partial.system(slot).update(&row.event);
        partial.memory.update(&row.event);
        let places = Scope::ALL.map(|scope| match scope {
            Scope::Process => Entity::Process(0, row.dev, 7),
            Scope::Device => Entity::Device(1, row.dev),
            _ => Entity::Nobody(scope, IoClass::Data),
        });
        let places = Places(places.map(|entity| partial.entities.place(entity)));
        if let Some(direction) = row.event.direction {
            partial.entities.add(places, (direction, Step::Cache { mapped: false }, row.event.bytes));
        }
        partial.left_out.add(0, row.dev, row.event.direction, (row.event.bytes, row.event.weight));
        partial.during.add(row.dev as usize, Source::Block, vec![0, row.event.bytes]);
        partial.anomalies.combine(Anomalies { negative_durations: 1, negative_bytes: row.dev as u64, bad_weights: 2 });
        partial.sampled.add(row.event.weight);
        partial.rows += 1;
    }
    partial
}

/// All that comes of a partial, as text.
fn result(partial: Partial) -> String {
    let finished = partial.finish(&[3, 0, 40, u64::MAX]);
    let trust = Trust {
        captured: [true; Layer::ALL.len()],
        lost_io: [Some(Default::default()); Layer::ALL.len()],
        ..Trust::default()
    };
    let columns = summary::columns(trust.lost_io);
    let mut text = Vec::new();
    for mut frame in [
        frame::frame(&columns, &summary::rows(&finished, &trust)).expect("declared columns"),
        frame::frame(&columns, &[summary::total(&finished, &trust)]).expect("declared columns"),
        frame::frame(&latency::columns(), &latency::rows(&finished, &trust)).expect("declared columns"),
    ] {
        text.extend(frame::csv(&mut frame).expect("room"));
    }
    let Finished { memory, anomalies, left_out, during, rows, entities, .. } = finished;
    format!(
        "{}{memory:?}{anomalies:?}{left_out:?}{during:?}{rows}{entities:?}",
        String::from_utf8(text).expect("UTF-8")
    )
}

fn combined(partials: impl IntoIterator<Item = Partial>) -> Partial {
    let mut sum = Partial::empty(SETTINGS);
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
        with_empty.combine(Partial::empty(SETTINGS));
        prop_assert_eq!(result(with_empty), result(partial));
    }
}
