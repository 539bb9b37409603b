//! Entries that remain in the BPF maps at the end. Read after detaching.

use anyhow::Result;
use libbpf_rs::{MapCore, MapFlags};

use super::Session;
use crate::bpf::{Record, read_record, types};

impl Session<'_> {
    /// Requests that were issued, and bios in a device, without a completion event. Call after detaching.
    pub fn unfinished(&self) -> Result<Vec<types::inflight_request>> {
        let maps = &self.skeleton.maps;
        let bios = values::<types::inflight_request>(&maps.bios)?;
        let mut entries = values::<types::inflight_request>(&maps.crowded)?;
        let ways = types::request_bucket::default().way.len() as u32;
        for key in maps.places.keys() {
            let Some(place) = read_record::<u32>(&key) else { continue };
            let bucket = maps.requests.lookup(&(place / ways).to_ne_bytes(), MapFlags::ANY)?;
            let bucket = bucket.and_then(|value| read_record::<types::request_bucket>(&value));
            entries.extend(bucket.map(|bucket| bucket.way[(place % ways) as usize].state));
        }
        let over = types::phase::PHASE_OVER.0 as u8;
        entries.retain(|state: &types::inflight_request| state.issue_ns != 0 && state.phase != over);
        entries.extend(bios);
        Ok(entries)
    }

    /// Flushes without data that were queued since `opened_ns`, without a completion event. Call after detaching.
    pub fn unfinished_flushes(&self, opened_ns: u64) -> Result<Vec<types::queued_bio>> {
        let queued = &self.skeleton.maps.queued;
        let mut flushes = Vec::new();
        for key in 0..queued.max_entries() {
            let bucket = queued.lookup(&key.to_ne_bytes(), MapFlags::ANY)?;
            let bucket = bucket.and_then(|value| read_record::<types::queued_bucket>(&value));
            flushes.extend(bucket.iter().flat_map(|bucket| bucket.way).filter(|waiting| {
                waiting.bio != 0
                    && waiting.queue_ns >= opened_ns
                    && u32::from(waiting.from.origin.io_class) == types::io_class::IO_FLUSH.0
            }));
        }
        Ok(flushes)
    }

    /// Parts of an unfinished request or bio; `None` if they are no longer known.
    pub fn parts_of(&self, request: &types::inflight_request) -> Result<Option<types::part_list>> {
        if request.from.origin.others == 0 {
            return Ok(None);
        }
        let list = self.skeleton.maps.part_lists.lookup(&request.request.to_ne_bytes(), MapFlags::ANY)?;
        let list = list.and_then(|value| read_record::<types::part_list>(&value));
        Ok(list.filter(|list| list.queue_ns == request.queue_ns))
    }

    /// Calls that began and did not return, and the target files of copies. Call after detaching.
    pub fn unfinished_calls(&self) -> Result<(Vec<types::file_op>, Vec<types::file_op>)> {
        let maps = &self.skeleton.maps;
        let mut calls = values::<types::file_op>(&maps.calls)?;
        calls.retain(|call| u32::from(call.op) != types::op::OP_NONE.0);
        Ok((calls, values(&maps.targets)?))
    }

    /// Number of operations of aio and io_uring in the in-flight tables. Call after detaching.
    pub fn unfinished_async(&self) -> Result<u64> {
        let maps = &self.skeleton.maps;
        let mut left = maps.crowded_async.keys().count() as u64;
        for key in 0..maps.under_way.max_entries() {
            let bucket = maps.under_way.lookup(&key.to_ne_bytes(), MapFlags::ANY)?;
            let bucket = bucket.and_then(|value| read_record::<types::async_bucket>(&value));
            left += bucket.map_or(0, |bucket| bucket.way.iter().filter(|way| way.key.address != 0).count() as u64);
        }
        Ok(left)
    }
}

/// All values of a map.
fn values<T: Record>(map: &impl MapCore) -> Result<Vec<T>> {
    let mut values = Vec::new();
    for key in map.keys() {
        values.extend(map.lookup(&key, MapFlags::ANY)?.and_then(|value| read_record::<T>(&value)));
    }
    Ok(values)
}
