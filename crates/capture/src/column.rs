//! How one value of a row becomes an Arrow column and back.
//!
//! A type that implements [`Value`] can be a field of a row. It says which Arrow type holds it, how values are
//! gathered into a column ([`Value::Builder`]) and how they are read from one ([`Value::Reader`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, StringBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

mod words;

/// No text is longer: a path has at most 4,096 bytes, each of which may have become a character that stands for any other.
pub(crate) const MOST_TEXT_BYTES: usize = 16 << 10;

/// No word is longer: a command name has at most 15 such bytes.
pub(crate) const MOST_WORD_BYTES: usize = 64;

pub use words::{Word, WordReader, Words};

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
    /// Bytes of the texts that were gathered, of which a row may have any number: what a batch takes does not follow from its rows alone.
    #[inline]
    fn text_bytes(&self) -> usize {
        0
    }
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

/// For how many values a builder makes room that has just handed over so many: the next batch is most likely as large. A power of two, so that
/// buffers are of few sizes, and an allocator finds those that were freed of use for the next.
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
                    return Err("holds nulls where none may be".into());
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

    /// Takes what was gathered.
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
            return Err("holds nulls where none may be".into());
        }
        downcast::<BooleanArray>(array)
    }
    #[inline]
    fn at(&self, row: usize) -> bool {
        self.value(row)
    }
}

/// Text that seldom repeats: one string a row, gathered end to end.
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

/// A command name as the kernel keeps it (`TASK_COMM_LEN`): at most 15 bytes and a NUL. All zero means unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The first 15 bytes of `word`.
    pub fn of(word: &str) -> Comm {
        let mut bytes = [0; 16];
        bytes.iter_mut().take(15).zip(word.bytes()).for_each(|(to, from)| *to = from);
        Comm(bytes)
    }

    /// The name up to its NUL, with bytes that are not UTF-8 replaced.
    pub fn text(&self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

/// The texts in `array`. Whoever keeps them may keep one for each row, so none may be longer than it can be.
fn texts(array: &dyn Array, most: usize) -> Result<&StringArray, String> {
    let texts = downcast::<StringArray>(array)?;
    let longest = texts.offsets().lengths().max().unwrap_or(0);
    if longest > most {
        return Err(format!("holds a text of {longest} bytes, expected at most {most}"));
    }
    Ok(texts)
}

fn downcast<T: Array + 'static>(array: &dyn Array) -> Result<&T, String> {
    array
        .as_any()
        .downcast_ref::<T>()
        .ok_or_else(|| format!("has type {}, expected {}", array.data_type(), std::any::type_name::<T>()))
}
