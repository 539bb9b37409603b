//! How one value of a row becomes an Arrow column and back.
//!
//! A type that implements [`Value`] can be a field of a row. It says which Arrow type holds it, how values are
//! gathered into a column ([`Value::Builder`]) and how they are read from one ([`Value::Reader`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int32Type};
use rustc_hash::FxHashMap;

use crate::op::{Evidence, FdKind, IoClass, Op};

/// A value that a column can hold.
pub trait Value: Sized {
    /// Gathers values into a column.
    type Builder: Builder<Self>;
    /// Reads values from a column.
    type Reader<'a>: Reader<'a>;
    /// Whether the column may hold nulls.
    const NULLABLE: bool;
    /// The Arrow type of the column.
    fn data_type() -> DataType;
}

/// Gathers values into one Arrow array.
pub trait Builder<T>: Default + Send {
    /// Appends a value.
    fn push(&mut self, value: T);
    /// Takes what was gathered and leaves the builder empty.
    fn finish(&mut self) -> ArrayRef;
}

/// Reads one Arrow array as values.
pub trait Reader<'a>: Sized {
    /// What a row's cell reads as.
    type Item;
    /// A reader of `array`, or what was expected of the array instead.
    fn new(array: &'a dyn Array) -> Result<Self, String>;
    /// The value at `row`, which is below the array's length.
    fn at(&self, row: usize) -> Self::Item;
}

macro_rules! integer {
    ($native:ty, $array:ty, $data_type:expr) => {
        impl Value for $native {
            type Builder = Vec<$native>;
            type Reader<'a> = &'a [$native];
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                $data_type
            }
        }

        impl Builder<$native> for Vec<$native> {
            #[inline]
            fn push(&mut self, value: $native) {
                Vec::push(self, value);
            }
            fn finish(&mut self) -> ArrayRef {
                // The next batch is most likely as large as this one.
                let empty = Vec::with_capacity(self.len());
                Arc::new(<$array>::from(std::mem::replace(self, empty)))
            }
        }

        impl<'a> Reader<'a> for &'a [$native] {
            type Item = $native;
            fn new(array: &'a dyn Array) -> Result<Self, String> {
                if array.null_count() > 0 {
                    return Err("holds nulls where none may be".into());
                }
                Ok(downcast::<$array>(array)?.values())
            }
            fn at(&self, row: usize) -> $native {
                self[row]
            }
        }

        impl Value for Option<$native> {
            type Builder = Nullable<$native>;
            type Reader<'a> = &'a $array;
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                $data_type
            }
        }

        impl Builder<Option<$native>> for Nullable<$native> {
            #[inline]
            fn push(&mut self, value: Option<$native>) {
                self.append(value);
            }
            fn finish(&mut self) -> ArrayRef {
                let (values, valid) = self.take();
                Arc::new(<$array>::new(values.into(), valid))
            }
        }

        impl<'a> Reader<'a> for &'a $array {
            type Item = Option<$native>;
            fn new(array: &'a dyn Array) -> Result<Self, String> {
                downcast::<$array>(array)
            }
            fn at(&self, row: usize) -> Option<$native> {
                self.is_valid(row).then(|| self.value(row))
            }
        }
    };
}

integer!(i64, Int64Array, DataType::Int64);
integer!(i32, Int32Array, DataType::Int32);

/// Gathers integers of which some are missing. What is there is a byte a row until the end, because setting single bits
/// costs more than packing all of them at once.
#[derive(Default)]
pub struct Nullable<T> {
    values: Vec<T>,
    valid: Vec<bool>,
}

impl<T: Default> Nullable<T> {
    #[inline]
    fn append(&mut self, value: Option<T>) {
        self.valid.push(value.is_some());
        self.values.push(value.unwrap_or_default());
    }

    /// Takes what was gathered. The next batch is most likely as large as this one.
    fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let valid = self.valid.contains(&false).then(|| NullBuffer::from(self.valid.as_slice()));
        self.valid.clear();
        let empty = Vec::with_capacity(self.values.len());
        (std::mem::replace(&mut self.values, empty), valid)
    }
}

impl Value for bool {
    type Builder = Vec<bool>;
    type Reader<'a> = &'a BooleanArray;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Boolean
    }
}

impl Builder<bool> for Vec<bool> {
    #[inline]
    fn push(&mut self, value: bool) {
        Vec::push(self, value);
    }
    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::from(std::mem::take(self)))
    }
}

impl<'a> Reader<'a> for &'a BooleanArray {
    type Item = bool;
    fn new(array: &'a dyn Array) -> Result<Self, String> {
        if array.null_count() > 0 {
            return Err("holds nulls where none may be".into());
        }
        downcast::<BooleanArray>(array)
    }
    fn at(&self, row: usize) -> bool {
        self.value(row)
    }
}

/// Text that seldom repeats: one string a row.
impl Value for Option<String> {
    type Builder = Vec<Option<String>>;
    type Reader<'a> = &'a StringArray;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
}

impl Builder<Option<String>> for Vec<Option<String>> {
    #[inline]
    fn push(&mut self, value: Option<String>) {
        Vec::push(self, value);
    }
    fn finish(&mut self) -> ArrayRef {
        Arc::new(StringArray::from(std::mem::take(self)))
    }
}

impl<'a> Reader<'a> for &'a StringArray {
    type Item = Option<&'a str>;
    fn new(array: &'a dyn Array) -> Result<Self, String> {
        downcast::<StringArray>(array)
    }
    fn at(&self, row: usize) -> Option<&'a str> {
        self.is_valid(row).then(|| self.value(row))
    }
}

/// A command name as the kernel keeps it (`TASK_COMM_LEN`): at most 15 bytes and a NUL. All zero means unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The name up to its NUL, with bytes that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

/// A value with few distinct texts: a column of dictionary keys.
pub trait Word: Copy + PartialEq + Eq + std::hash::Hash + Send {
    /// The text on disk; `None` is a null.
    fn text(&self) -> Option<String>;
}

impl Word for Comm {
    fn text(&self) -> Option<String> {
        (self.0[0] != 0).then(|| Comm::text(self))
    }
}

impl Word for Option<FdKind> {
    fn text(&self) -> Option<String> {
        self.map(|kind| kind.name().to_owned())
    }
}

/// Gathers words as dictionary keys. Most often it is one of the two words that came last.
pub struct Words<T> {
    last: [Option<(T, Option<i32>)>; 2],
    known: FxHashMap<T, Option<i32>>,
    texts: Vec<String>,
    keys: Nullable<i32>,
}

impl<T> Default for Words<T> {
    fn default() -> Self {
        Words { last: [None, None], known: FxHashMap::default(), texts: Vec::new(), keys: Nullable::default() }
    }
}

impl<T: Word> Words<T> {
    #[inline]
    fn key(&mut self, word: T) -> Option<i32> {
        for (last, key) in self.last.iter().flatten() {
            if *last == word {
                return *key;
            }
        }
        let texts = &mut self.texts;
        let key = *self.known.entry(word).or_insert_with(|| {
            word.text().map(|text| {
                texts.push(text);
                texts.len() as i32 - 1
            })
        });
        self.last = [Some((word, key)), self.last[0]];
        key
    }
}

impl<T: Word> Builder<T> for Words<T> {
    #[inline]
    fn push(&mut self, value: T) {
        let key = self.key(value);
        self.keys.append(key);
    }

    fn finish(&mut self) -> ArrayRef {
        let (keys, valid) = self.keys.take();
        let keys = Int32Array::new(keys.into(), valid);
        let texts = StringArray::from(std::mem::take(&mut self.texts));
        self.known.clear();
        self.last = [None, None];
        // Keys come from `texts.len()` above, so they are in range.
        match DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts)) {
            Ok(array) => Arc::new(array),
            Err(_) => unreachable!("dictionary keys are made from the dictionary"),
        }
    }
}

fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Reads dictionary keys as the words they stand for; each distinct word is parsed once a batch.
pub struct WordReader<'a, T> {
    array: &'a DictionaryArray<Int32Type>,
    words: Vec<T>,
}

impl<'a, T: Copy> WordReader<'a, T> {
    fn parsed(array: &'a dyn Array, parse: impl Fn(&'a str) -> Result<T, String>) -> Result<Self, String> {
        let array = downcast::<DictionaryArray<Int32Type>>(array)?;
        let texts = downcast::<StringArray>(array.values().as_ref())?;
        let words = texts.iter().map(|text| parse(text.unwrap_or_default())).collect::<Result<_, _>>()?;
        Ok(WordReader { array, words })
    }

    fn word(&self, row: usize) -> Option<T> {
        self.array.key(row).and_then(|key| self.words.get(key).copied())
    }
}

impl Value for Comm {
    type Builder = Words<Comm>;
    type Reader<'a> = WordReader<'a, &'a str>;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        dictionary_type()
    }
}

impl<'a> Reader<'a> for WordReader<'a, &'a str> {
    type Item = Option<&'a str>;
    fn new(array: &'a dyn Array) -> Result<Self, String> {
        Self::parsed(array, Ok)
    }
    fn at(&self, row: usize) -> Option<&'a str> {
        self.word(row)
    }
}

/// Columns of words that are always there.
macro_rules! word_column {
    ($($word:ty),+) => {$(
        impl Word for $word {
            fn text(&self) -> Option<String> {
                Some(self.name().to_owned())
            }
        }

        impl Value for $word {
            type Builder = Words<$word>;
            type Reader<'a> = WordReader<'a, $word>;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                dictionary_type()
            }
        }

        impl<'a> Reader<'a> for WordReader<'a, $word> {
            type Item = $word;
            fn new(array: &'a dyn Array) -> Result<Self, String> {
                if array.null_count() > 0 {
                    return Err("holds nulls where none may be".into());
                }
                let reader =
                    Self::parsed(array, |text| <$word>::parse(text).ok_or_else(|| format!("holds the unknown word {text:?}")))?;
                if reader.words.is_empty() && !array.is_empty() {
                    return Err("has keys without a dictionary".into());
                }
                Ok(reader)
            }
            fn at(&self, row: usize) -> $word {
                self.words[self.array.keys().value(row) as usize]
            }
        }
    )+};
}

word_column!(Op, IoClass, Evidence);

impl Value for Option<FdKind> {
    type Builder = Words<Option<FdKind>>;
    type Reader<'a> = WordReader<'a, FdKind>;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        dictionary_type()
    }
}

impl<'a> Reader<'a> for WordReader<'a, FdKind> {
    type Item = Option<FdKind>;
    fn new(array: &'a dyn Array) -> Result<Self, String> {
        Self::parsed(array, |text| FdKind::parse(text).ok_or_else(|| format!("holds the unknown word {text:?}")))
    }
    fn at(&self, row: usize) -> Option<FdKind> {
        self.word(row)
    }
}

fn downcast<T: Array + 'static>(array: &dyn Array) -> Result<&T, String> {
    array
        .as_any()
        .downcast_ref::<T>()
        .ok_or_else(|| format!("has type {}, expected {}", array.data_type(), std::any::type_name::<T>()))
}
