//! Storage for millions of texts: names that are looked up while rows are read, and records of texts that are needed only for listed entities at
//! the end.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::index::Index;

/// Texts by number, stored one after the other.
#[derive(Debug, Clone, Default)]
pub struct List {
    bytes: String,
    ends: Vec<usize>,
}

impl List {
    /// Returns the text with this number.
    pub fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let begin = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.bytes[begin..self.ends[number]]
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Iterates over all texts, by number.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| self.get(number as u32))
    }
}

/// Distinct names, numbered in the order of addition. Each takes its bytes and about fifteen more.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Names {
    list: List,
    index: Index,
}

impl From<Vec<String>> for Names {
    fn from(all: Vec<String>) -> Names {
        let mut names = Names::default();
        for name in &all {
            names.number(name);
        }
        names
    }
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Vec<String> {
        names.list.iter().map(str::to_owned).collect()
    }
}

impl Names {
    /// Returns the number of `name`; adds it if it is new.
    pub fn number(&mut self, name: &str) -> u32 {
        let Names { list, index } = self;
        let hash = index.hash(name);
        if let Some(number) = index.find(hash, |number| list.get(number) == name) {
            return number;
        }
        // More names exceed any memory.
        let number = u32::try_from(list.len()).unwrap_or(u32::MAX);
        list.bytes.push_str(name);
        list.ends.push(list.bytes.len());
        index.add(hash, number, |index, number| index.hash(list.get(number)));
        number
    }

    /// Returns all names.
    pub fn list(&self) -> &List {
        &self.list
    }

    /// Returns all names, when no more are looked up.
    pub fn into_list(self) -> List {
        self.list
    }
}

/// Size of a block of records. A larger block takes longer for each read, a smaller one compresses worse.
const BLOCK_BYTES: usize = 16 << 10;

/// Maximum number of uncompressed blocks, and of cached decompressed ones: 4 MiB. Most captures have fewer blocks, and none is compressed.
const UNPACKED: usize = 256;

/// Compression level. Captures with many texts have mostly similar ones, for which any level is enough.
const LEVEL: i32 = 1;

/// Records of `N` texts each, numbered in the order of addition. With many records they are compressed: a process with a unique command line takes
/// about ten bytes.
pub struct Records<const N: usize> {
    blocks: Vec<Block>,
    /// Records in no block yet, and the number of the first of them.
    open: (Vec<u8>, u32),
    len: u32,
    packer: Option<zstd::bulk::Compressor<'static>>,
    unpacked: Mutex<Unpacked>,
}

/// Consecutive records.
struct Block {
    first: u32,
    /// Uncompressed size, if compressed.
    packed_from: Option<u32>,
    bytes: Box<[u8]>,
}

/// Most recently decompressed blocks, by number.
#[derive(Default)]
struct Unpacked {
    blocks: HashMap<usize, Vec<u8>, RandomState>,
    unpacker: Option<zstd::bulk::Decompressor<'static>>,
}

impl<const N: usize> Default for Records<N> {
    fn default() -> Self {
        let (blocks, open, unpacked) = Default::default();
        Records { blocks, open, len: 0, packer: None, unpacked }
    }
}

impl<const N: usize> fmt::Debug for Records<N> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Records").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<const N: usize> Records<N> {
    /// Adds a record and returns its number.
    pub fn add(&mut self, record: [&str; N]) -> u32 {
        let number = self.len;
        for text in record {
            // No column has a longer text.
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.open.0.extend_from_slice(&length.to_le_bytes());
            self.open.0.extend_from_slice(text.as_bytes());
        }
        self.len = self.len.saturating_add(1);
        if self.open.0.len() >= BLOCK_BYTES {
            self.close();
        }
        number
    }

    fn close(&mut self) {
        let (bytes, first) = std::mem::replace(&mut self.open, (Vec::with_capacity(2 * BLOCK_BYTES), self.len));
        let packed = if self.blocks.len() < UNPACKED { None } else { self.pack(&bytes) };
        let packed_from = packed.is_some().then_some(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.blocks.push(Block { first, packed_from, bytes: packed.unwrap_or(bytes).into() });
    }

    fn pack(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.packer.is_none() {
            self.packer = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        self.packer.as_mut()?.compress(bytes).ok()
    }

    /// Returns the record with this number; empty texts if there is none.
    pub fn get(&self, number: u32) -> [String; N] {
        let at = self.blocks.partition_point(|block| block.first <= number);
        if number >= self.open.1 {
            return nth(&self.open.0, number - self.open.1);
        }
        let Some((at, block)) = at.checked_sub(1).and_then(|at| Some((at, self.blocks.get(at)?))) else {
            return std::array::from_fn(|_| String::new());
        };
        let Some(size) = block.packed_from else { return nth(&block.bytes, number - block.first) };
        // A panic of a thread that held the lock ends the program; see `parallel::each`.
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        let Unpacked { blocks, unpacker } = &mut *unpacked;
        if !blocks.contains_key(&at) {
            if blocks.len() >= UNPACKED {
                blocks.clear();
            }
            if unpacker.is_none() {
                *unpacker = zstd::bulk::Decompressor::new().ok();
            }
            let bytes = unpacker.as_mut().and_then(|unpacker| unpacker.decompress(&block.bytes, size as usize).ok());
            blocks.insert(at, bytes.unwrap_or_default());
        }
        blocks.get(&at).map_or_else(|| std::array::from_fn(|_| String::new()), |bytes| nth(bytes, number - block.first))
    }
}

/// Returns record `number` of `bytes`.
fn nth<const N: usize>(mut bytes: &[u8], number: u32) -> [String; N] {
    let mut next = || {
        let (length, rest) = bytes.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let (text, rest) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
        bytes = rest;
        text
    };
    for _ in 0..number as usize * N {
        next();
    }
    std::array::from_fn(|_| String::from_utf8_lossy(next()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_a_number_one_name() {
        let mut names = Names::default();
        assert_eq!(["a", "", "bc", "a", "", "b"].map(|name| names.number(name)), [0, 1, 2, 0, 1, 3]);
        assert_eq!(names.list().iter().collect::<Vec<_>>(), ["a", "", "bc", "b"]);
        assert_eq!(Names::from(Vec::from(names.clone())).into_list().get(2), "bc");
        assert!(names.list().len() == 4 && List::default().is_empty());
    }

    #[test]
    fn records_come_back_as_they_were_and_many_take_little() {
        let record =
            |number: u32| [format!("job{number}"), format!("/opt/jobs/{number}/run --of {number}"), String::new()];
        let mut records = Records::<3>::default();
        for number in 0..200_000 {
            let [a, b, c] = record(number);
            assert_eq!(records.add([&a, &b, &c]), number);
        }
        let blocks = records.blocks.len();
        assert!(blocks > 2 * UNPACKED, "{blocks}");
        let packed: usize = records.blocks[UNPACKED..].iter().map(|block| block.bytes.len()).sum();
        assert!(packed < (blocks - UNPACKED) * BLOCK_BYTES / 4, "{packed}");
        for number in (0..200_000).step_by(997).chain([0, 199_999, 123_456, 3]) {
            assert_eq!(records.get(number), record(number));
        }
        assert!(records.unpacked.lock().expect("no panic").blocks.len() <= UNPACKED);
        assert_eq!(records.get(200_000), [""; 3].map(str::to_owned));
    }
}
