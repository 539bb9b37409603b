//! Comparison of footprints with sets of blocks, and their cost.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn touch(ts_ns: i64, position: u64, bytes: u64, direction: Direction) -> Touch {
    Touch { ts_ns, direction, space: Space(7), position, bytes, ops: 1 }
}

/// Operations of more than 8 blocks are long.
fn of(touches: &[Touch], most: usize) -> Footprint {
    let (mut blocks, mut windows) = (Blocks::new((most, 8)), Windows::new((most, 8)));
    touches.iter().for_each(|touch| {
        let hashes: Vec<u64> = if touch.blocks().1 > 8 { Vec::new() } else { touch.hashes().collect() };
        blocks.add(touch, Some(&hashes));
        windows.add(touch, &hashes);
    });
    Footprint {
        subjects: BTreeMap::from([((Layer::Block, Subject::All), blocks)]),
        windows: BTreeMap::from([(Layer::Block, windows)]),
    }
}

proptest! {
    #[test]
    fn all_together_know_what_a_system_or_a_disk_knows(
        touched in prop::collection::vec((0u64..3_000, 1u64..9, any::<bool>(), 0u32..3), 1..2_000),
    ) {
        use crate::aggregate::sequence::{Owners, Subject};
        use crate::entity::{CaptureNumber, Entities};

        let mut entities = Entities::default();
        let devices = [1, 2].map(|disk| entities.place(Entity::Device(CaptureNumber::default(), disk)));
        let mut walk = Walk::new(Precision::DEFAULT);
        walk.most = 64;
        let touches = touched.iter().map(|(block, blocks, reads, slot)| {
            let direction = if *reads { Direction::Read } else { Direction::Write };
            (touch(0, block * BLOCK_BYTES, blocks * BLOCK_BYTES, direction), *slot)
        });
        let touches: Vec<(Touch, u32)> = touches.collect();
        for (touch, slot) in &touches {
            walk.add(Layer::Block, touch, (*slot, devices[*slot as usize % 2]));
        }
        let found = walk.finish(&Owners { systems: &["one", "other", "third"], entities: &entities }).subjects();
        let mut alone = Blocks::new((64, LONG_BLOCKS));
        for (touch, _) in &touches {
            alone.add(touch, Some(&touch.hashes().collect::<Vec<_>>()));
        }
        prop_assert_eq!(&found[&(Layer::Block, Subject::All)], &alone.finish());
    }
}

#[test]
fn each_block_that_an_operation_has_a_byte_of_is_touched() {
    let blocks = |position, bytes| touch(0, position, bytes, Direction::Read).blocks();
    assert_eq!(
        [blocks(0, 0), blocks(0, 1), blocks(0, 4_096), blocks(4_095, 2), blocks(8_192, 4_097)],
        [(0, 0), (0, 1), (0, 1), (0, 2), (2, 2)]
    );
    assert_eq!(blocks(u64::MAX, u64::MAX).1, 1, "no more blocks than block numbers");
    let can_be = |bytes| touch(0, 4_095, bytes, Direction::Read).can_be();
    assert!(can_be(u64::from(u32::MAX)) && !can_be(1 << 42) && !can_be(i64::MAX as u64));
}

#[test]
fn what_is_written_again_is_an_overwrite() {
    let writes = [(0, 8_192), (4_096, 8_192), (0, 4_096)].map(|(at, bytes)| touch(0, at, bytes, Direction::Write));
    let reads = [touch(0, 0, 4_096, Direction::Read)];
    let found = of(&[&writes[..], &reads].concat(), 100).subjects();
    let Finished { ways: [read, write], unique, sampling_factor } = &found[&(Layer::Block, Subject::All)];
    assert_eq!((read.touched, read.unique, read.again), (1, 1, Some(0.0)));
    assert_eq!((write.touched, write.unique, write.again), (5, 3, Some(0.4)));
    assert_eq!((*unique, *sampling_factor), (3, 1));
}

#[test]
fn one_block_that_is_written_all_the_time_moves_no_share_whether_it_is_looked_at_or_not() {
    for hot in 0..8 {
        let mut blocks: Vec<Touch> =
            (0..40_000).map(|block| touch(0, block * 4_096, 4_096, Direction::Write)).collect();
        blocks.extend((0..40_000).map(|_| touch(0, hot * 4_096, 4_096, Direction::Write)));
        let found = of(&blocks, 1 << 12).subjects();
        let Finished { ways: [_, write], sampling_factor, .. } = &found[&(Layer::Block, Subject::All)];
        assert!(*sampling_factor > 1 && write.again.is_some_and(|share| (share - 0.5).abs() < 0.03), "{write:?}");
    }
}

#[test]
fn an_estimate_is_near() {
    let blocks: Vec<Touch> = (0..500_000).map(|block| touch(0, block * 4_096, 4_096, Direction::Read)).collect();
    let found = of(&blocks, 1 << 12).subjects();
    let Finished { unique, sampling_factor, .. } = found[&(Layer::Block, Subject::All)].clone();
    assert!(sampling_factor == 128 || sampling_factor == 256, "{sampling_factor}");
    // Of some 3,000 blocks the standard deviation is 1.8 %.
    assert!(unique.abs_diff(500_000) < 40_000, "{unique}");
}

#[test]
fn an_operation_costs_the_same_whatever_size_it_claims() {
    // One hash for each block of these would be 3e20 hashes; one for each block up to the maximum of an operation, 2e11.
    let sizes = [1 << 42, 1 << 50, i64::MAX as u64, u64::MAX];
    let places = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    let touches: Vec<Touch> = (0..200_000)
        .map(|number| touch(number as i64 * 1_000, places(number), sizes[number as usize % 4], Direction::Read))
        .collect();
    let found = of(&touches, MOST_BLOCKS).subjects();
    let Finished { ways: [read, _], unique, sampling_factor } = found[&(Layer::Block, Subject::All)].clone();
    let mut ranges: Vec<(u64, u64)> = touches.iter().map(|touch| touch.blocks()).collect();
    ranges.sort_unstable();
    let (mut expected, mut reached) = (0, 0);
    for (first, count) in ranges {
        expected += (first + count).saturating_sub(reached.max(first));
        reached = reached.max(first + count);
    }
    assert_eq!((unique, read.unique, sampling_factor), (expected, expected, 1));
    assert_eq!(read.touched, touches.iter().fold(0, |sum: u64, touch| sum.saturating_add(touch.blocks().1)));
    // Each entry is moved only when windows are doubled.
    assert_eq!(of(&touches, MOST_BLOCKS).windows().len(), 191);
}

#[test]
fn distances_of_reuse_cost_what_operations_do_and_not_what_they_move() {
    // Each operation touches the maximum for a kernel: all blocks of these would be 73 billion.
    let largest = touch(0, 0, 1 << 32, Direction::Read);
    let touches = Touch { ops: 70_000, ..largest };
    let halved = of(&[touches], MOST_BLOCKS).halved()[Layer::Block as usize];
    let looks = largest.hashes_of(halved).count();
    assert!((64..=256).contains(&looks), "{looks} blocks of each");
    // With many operations their number is the bound.
    let many = Touch { ops: 1 << 40, bytes: 1 << 20, ..largest };
    assert_eq!(many.hashes_of(of(&[many], MOST_BLOCKS).halved()[Layer::Block as usize]).count(), 64);
    // Usual sizes of a kernel are processed block by block, until there are very many.
    let ordinary = Touch { ops: 100_000, bytes: 1 << 19, ..largest };
    assert_eq!(of(&[ordinary], MOST_BLOCKS).halved(), [0; 4]);
    // If all blocks are requested, all are processed, whatever it takes.
    assert_eq!(of(&[touches], usize::MAX).halved(), [0; 4]);
}

proptest! {
    #[test]
    fn of_neighbours_the_same_is_looked_at_whoever_touches_them(
        (first, blocks, cut) in (0u64..1_000, 1u64..500, 0u64..500),
        halved in 0u32..12,
    ) {
        let hashes = |first: u64, blocks: u64| -> Vec<u64> {
            touch(0, first * 4_096, blocks * 4_096, Direction::Read).hashes_of(halved).collect()
        };
        let cut = cut.min(blocks);
        prop_assert_eq!(hashes(first, blocks), [hashes(first, cut), hashes(first + cut, blocks - cut)].concat());
        prop_assert_eq!(hashes(first << halved, blocks << halved).len() as u64, blocks);
        let all: BTreeSet<u64> = touch(0, first * 4_096, blocks * 4_096, Direction::Read).hashes().collect();
        prop_assert!(hashes(first, blocks).iter().all(|hash| all.contains(hash)));
    }

    #[test]
    fn ranges_and_blocks_are_together_what_a_set_of_blocks_is(
        touched in prop::collection::vec((0u64..200, 1u64..130_000, any::<bool>()), 0..80),
    ) {
        let way = |reads: bool| if reads { Direction::Read } else { Direction::Write };
        let touches: Vec<Touch> =
            touched.iter().map(|(block, bytes, reads)| touch(0, block * 4_096, *bytes, way(*reads))).collect();
        let mut sets: [BTreeSet<u64>; 3] = Default::default();
        for touch in &touches {
            let (first, count) = touch.blocks();
            sets[touch.direction as usize].extend(first..first + count);
            sets[2].extend(first..first + count);
        }
        let found = of(&touches, MOST_BLOCKS);
        let numbers = sets.map(|set| set.len() as u64);
        for Finished { ways, unique, sampling_factor } in found.subjects().values() {
            prop_assert_eq!(([ways[0].unique, ways[1].unique, *unique], *sampling_factor), (numbers, 1));
        }
        for (_, Window { ways, unique, .. }) in found.windows() {
            prop_assert_eq!([ways[0], ways[1], unique], numbers);
        }
    }

    #[test]
    fn any_partition_tells_the_same(
        tagged in prop::collection::vec(((0i64..4_000_000_000, 0u64..64, 1u64..70_000, any::<bool>()), 0..3usize), 0..100),
        most in 1usize..40,
    ) {
        let touches = |wanted: Option<usize>| -> Vec<Touch> {
            let chosen = tagged.iter().filter(|(_, tag)| wanted.is_none_or(|wanted| *tag == wanted));
            let way = |reads: bool| if reads { Direction::Read } else { Direction::Write };
            chosen.map(|((ns, block, bytes, reads), _)| touch(*ns, block * 4_096, *bytes, way(*reads))).collect()
        };
        let mut sum = of(&touches(Some(1)), most);
        sum.combine(of(&touches(Some(2)), most));
        sum.combine(of(&touches(Some(0)), most));
        let told = |footprint: Footprint| format!("{:?} {:?}", footprint.subjects(), footprint.windows());
        prop_assert!(told(sum) == told(of(&touches(None), most)));
    }
}

#[test]
fn a_stored_footprint_whose_width_did_not_double_is_refused() {
    let windows = |width_ns, ends| Windows { width_ns, ends, ..Windows::new((8, 8)) };
    assert!(windows(LEAST_WINDOW_NS, Some((-1, 1))).is_sound() && windows(1 << 62, Some((-2, 1))).is_sound());
    for width_ns in [i64::MIN, -1, 0, 1, LEAST_WINDOW_NS + 1, i64::MAX] {
        assert!(!windows(width_ns, None).is_sound(), "{width_ns}");
    }
    for ends in [(1, -1), (i64::MIN, 0), (0, i64::MAX)] {
        assert!(!windows(LEAST_WINDOW_NS, Some(ends)).is_sound(), "{ends:?}");
    }
}
