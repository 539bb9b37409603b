//! Columns of few distinct texts, stored as dictionary keys.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow_schema::DataType;
use rustc_hash::FxHashMap;

use super::{Builder, Comm, MOST_WORD_BYTES, Nullable, Reader, Value, downcast, texts};
use crate::op::{Evidence, FdKind, IoClass, Op, PathOrigin, Via};

/// Value with few distinct texts: a column of dictionary keys.
pub trait Word: Copy + PartialEq + Eq + std::hash::Hash + Send {
    /// Returns the text on disk; `None` is a null.
    fn text(&self) -> Option<String>;
}

impl Word for Comm {
    fn text(&self) -> Option<String> {
        (self.0[0] != 0).then(|| Comm::text(self))
    }
}

/// Collects values as dictionary keys. Most values equal one of the last two.
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
            Err(_) => unreachable!("dictionary keys are in the range of the dictionary"),
        }
    }
}

fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Reads dictionary keys as the values they represent; each distinct value is parsed once per batch.
pub struct WordReader<'a, T> {
    array: &'a DictionaryArray<Int32Type>,
    words: Vec<T>,
}

impl<'a, T: Copy> WordReader<'a, T> {
    fn parsed(array: &'a dyn Array, parse: impl Fn(&'a str) -> Result<T, String>) -> Result<Self, String> {
        let array = downcast::<DictionaryArray<Int32Type>>(array)?;
        let texts = texts(array.values().as_ref(), MOST_WORD_BYTES)?;
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
    #[inline]
    fn at(&self, row: usize) -> Option<&'a str> {
        self.word(row)
    }
}

/// Non-null columns of enum values.
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
                    return Err("has nulls, expected none".into());
                }
                let reader =
                    Self::parsed(array, |text| <$word>::parse(text).ok_or_else(|| format!("has the unknown value {text:?}")))?;
                if reader.words.is_empty() && !array.is_empty() {
                    return Err("has keys without a dictionary".into());
                }
                Ok(reader)
            }
            #[inline]
            fn at(&self, row: usize) -> $word {
                self.words[self.array.keys().value(row) as usize]
            }
        }
    )+};
}

word_column!(Op, IoClass, Evidence);

/// Nullable columns of enum values.
macro_rules! nullable_word_column {
    ($($word:ty),+) => {$(
        impl Word for Option<$word> {
            fn text(&self) -> Option<String> {
                self.map(|word| word.name().to_owned())
            }
        }

        impl Value for Option<$word> {
            type Builder = Words<Option<$word>>;
            type Reader<'a> = WordReader<'a, Option<$word>>;
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                dictionary_type()
            }
        }

        impl<'a> Reader<'a> for WordReader<'a, Option<$word>> {
            type Item = Option<$word>;
            fn new(array: &'a dyn Array) -> Result<Self, String> {
                // A dictionary of nulls only reads back with an empty text that no key refers to.
                let parse = |text: &str| match (text, <$word>::parse(text)) {
                    ("", _) => Ok(None),
                    (_, None) => Err(format!("has the unknown value {text:?}")),
                    (_, word) => Ok(word),
                };
                Self::parsed(array, parse)
            }
            #[inline]
            fn at(&self, row: usize) -> Option<$word> {
                self.word(row).flatten()
            }
        }
    )+};
}

nullable_word_column!(FdKind, PathOrigin, Via);
