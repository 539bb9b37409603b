//! Conversion of a row's values to Arrow columns and back.
//!
//! A type that implements [`Value`] can be a field of a row. It defines its Arrow type, the builder that collects values
//! into a column ([`Value::Builder`]) and the reader of a column ([`Value::Reader`]).

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray};

use arrow_array::builder::StringBuilder;
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

mod words;

/// Maximum length of a text: a path has at most 4,096 bytes, and each byte may have become a replacement character.
pub(crate) const MOST_TEXT_BYTES: usize = 16 << 10;

/// Maximum length of a dictionary value: a command name has at most 15 such bytes.
pub(crate) const MOST_WORD_BYTES: usize = 64;

pub use words::{Word, WordReader, Words};

/// Value of a column.
pub trait Value: Sized {
    /// Builder of a column.
    type Builder: Builder<Self>;
    /// Reader of a column.
    type Reader<'a>: Reader<'a>;
    /// Whether the column may contain nulls.
    const NULLABLE: bool;
    /// Returns the Arrow type of the column.
    fn data_type() -> DataType;
}

/// Collects values into one Arrow array.
pub trait Builder<T>: Default + Send {
    /// Appends a value.
    fn push(&mut self, value: T);
    /// Returns the collected values and leaves the builder empty.
    fn finish(&mut self) -> ArrayRef;
    /// Bytes of the collected texts. A text has any length, so the row count does not give the memory of a batch.
    #[inline]
    fn text_bytes(&self) -> usize {
        0
    }
}

/// Reads one Arrow array as values.
pub trait Reader<'a>: Sized {
    /// Value of one cell.
    type Item;
    /// Creates a reader of `array`, or returns the mismatch as an error text.
    fn new(array: &'a dyn Array) -> Result<Self, String>;
    /// Returns the value at `row`, which must be below the array's length.
    fn at(&self, row: usize) -> Self::Item;
}

/// Initial capacity after a batch of `values` values: the next batch is most likely as large. A power of two, so that
/// buffers have few sizes and an allocator can reuse freed ones.
fn room_for_next(values: usize) -> usize {
    values.next_power_of_two()
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
                let empty = Vec::with_capacity(room_for_next(self.len()));
                Arc::new(<$array>::from(std::mem::replace(self, empty)))
            }
        }

        impl<'a> Reader<'a> for &'a [$native] {
            type Item = $native;
            fn new(array: &'a dyn Array) -> Result<Self, String> {
                if array.null_count() > 0 {
                    return Err("has nulls, expected none".into());
                }
                Ok(downcast::<$array>(array)?.values())
            }
            #[inline]
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
            #[inline]
            fn at(&self, row: usize) -> Option<$native> {
                self.is_valid(row).then(|| self.value(row))
            }
        }
    };
}

integer!(i64, Int64Array, DataType::Int64);
integer!(i32, Int32Array, DataType::Int32);

/// Collects nullable integers. Validity is one byte per row until the end, because setting single bits costs more than
/// packing all of them at once.
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

    /// Takes the collected values.
    fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let valid = self.valid.contains(&false).then(|| NullBuffer::from(self.valid.as_slice()));
        self.valid.clear();
        let empty = Vec::with_capacity(room_for_next(self.values.len()));
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
            return Err("has nulls, expected none".into());
        }
        downcast::<BooleanArray>(array)
    }
    #[inline]
    fn at(&self, row: usize) -> bool {
        self.value(row)
    }
}

/// Text that seldom repeats: one string per row, stored back to back.
impl Value for Option<String> {
    type Builder = StringBuilder;
    type Reader<'a> = &'a StringArray;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
}

impl Builder<Option<String>> for StringBuilder {
    #[inline]
    fn push(&mut self, value: Option<String>) {
        self.append_option(value);
    }
    fn finish(&mut self) -> ArrayRef {
        Arc::new(StringBuilder::finish(self))
    }
    fn text_bytes(&self) -> usize {
        self.values_slice().len()
    }
}

impl<'a> Reader<'a> for &'a StringArray {
    type Item = Option<&'a str>;
    fn new(array: &'a dyn Array) -> Result<Self, String> {
        texts(array, MOST_TEXT_BYTES)
    }
    #[inline]
    fn at(&self, row: usize) -> Option<&'a str> {
        self.is_valid(row).then(|| self.value(row))
    }
}

/// Command name as the kernel stores it (`TASK_COMM_LEN`): at most 15 bytes and a NUL. All zero means unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// Takes the first 15 bytes of `word`.
    pub fn of(word: &str) -> Comm {
        let mut bytes = [0; 16];
        bytes.iter_mut().take(15).zip(word.bytes()).for_each(|(to, from)| *to = from);
        Comm(bytes)
    }

    /// Returns the name up to its NUL, with invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

/// Returns the texts in `array`. A caller may store one per row, so the length of each is limited to `most`.
fn texts(array: &dyn Array, most: usize) -> Result<&StringArray, String> {
    let texts = downcast::<StringArray>(array)?;
    let longest = texts.offsets().lengths().max().unwrap_or(0);
    if longest > most {
        return Err(format!("has a text of {longest} bytes, expected at most {most}"));
    }
    Ok(texts)
}

fn downcast<T: Array + 'static>(array: &dyn Array) -> Result<&T, String> {
    array
        .as_any()
        .downcast_ref::<T>()
        .ok_or_else(|| format!("has type {}, expected {}", array.data_type(), std::any::type_name::<T>()))
}
