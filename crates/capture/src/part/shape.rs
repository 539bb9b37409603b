//! Allowed form of a footer and of a page header, checked before a library decodes them.
//!
//! Both are Thrift in the compact protocol. Its decoder interprets the bytes of a field as the expected type, whatever type they
//! declare, allocates memory for the number of columns that a group claims, and recurses as deeply as groups are nested. Therefore
//! only the output of the recorder and of common writers passes: known fields, with their types, and no list longer than its bytes.

mod pieces;

use Shape::{Bool, Byte, Bytes, List, Number, Struct};
pub(super) use pieces::{Pieces, pieces};

/// Type of a value.
pub(super) enum Shape {
    /// Boolean; in a structure the type encodes the value.
    Bool,
    /// 8 bits.
    Byte,
    /// 16, 32 or 64 bits, which have the same encoding.
    Number,
    /// Text or other bytes.
    Bytes,
    /// Values of one type.
    List(&'static Shape),
    /// Fields by number.
    Struct(&'static [(i16, Shape)]),
}

const NOTHING: Shape = Struct(&[]);
const NUMBERS: Shape = List(&Number);
const STATISTICS: Shape = Struct(&[
    (1, Bytes),
    (2, Bytes),
    (3, Number),
    (4, Number),
    (5, Bytes),
    (6, Bytes),
    (7, Bool),
    (8, Bool),
    (9, Number),
]);

/// Logical type of a column: a text (1), an integer with a bit width (10). The others occur in columns that somebody added:
/// decimals, times, and types without parameters.
const LOGICAL_TYPE: Shape = Struct(&[
    (1, NOTHING),
    (4, NOTHING),
    (5, Struct(&[(1, Number), (2, Number)])),
    (6, NOTHING),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, NOTHING),
    (12, NOTHING),
    (13, NOTHING),
    (14, NOTHING),
    (15, NOTHING),
]);

/// Time type: whether in UTC, and in milli-, micro- or nanoseconds.
const TIME: Shape = Struct(&[(1, Bool), (2, Struct(&[(1, NOTHING), (2, NOTHING), (3, NOTHING)]))]);

const SCHEMA_ELEMENT: Shape = Struct(&[
    (1, Number),
    (2, Number),
    (3, Number),
    (4, Bytes),
    (CHILDREN, Number),
    (6, Number),
    (7, Number),
    (8, Number),
    (9, Number),
    (10, LOGICAL_TYPE),
]);

const COLUMN_METADATA: Shape = Struct(&[
    (1, Number),
    (2, NUMBERS),
    (3, List(&Bytes)),
    (4, Number),
    (5, Number),
    (6, Number),
    (7, Number),
    (8, List(&KEY_VALUE)),
    (9, Number),
    (10, Number),
    (11, Number),
    (12, STATISTICS),
    (13, List(&Struct(&[(1, Number), (2, Number), (3, Number)]))),
    (14, Number),
    (15, Number),
    (16, Struct(&[(1, Number), (2, NUMBERS), (3, NUMBERS)])),
]);

const KEY_VALUE: Shape = Struct(&[(1, Bytes), (2, Bytes)]);

const COLUMN: Shape =
    Struct(&[(1, Bytes), (2, Number), (3, COLUMN_METADATA), (4, Number), (5, Number), (6, Number), (7, Number)]);

const ROW_GROUP: Shape = Struct(&[
    (1, List(&COLUMN)),
    (2, Number),
    (3, Number),
    (4, List(&Struct(&[(1, Number), (2, Bool), (3, Bool)]))),
    (5, Number),
    (6, Number),
    (7, Number),
]);

const FOOTER: Shape = Struct(&[
    (1, Number),
    (SCHEMA, List(&SCHEMA_ELEMENT)),
    (ROWS, Number),
    (GROUPS, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Bytes),
    (7, List(&Struct(&[(1, NOTHING), (2, NOTHING)]))),
]);

const PAGE: Shape = Struct(&[
    (1, Number),
    (2, Number),
    (3, Number),
    (4, Number),
    (5, Struct(&[(1, Number), (2, Number), (3, Number), (4, Number), (5, STATISTICS)])),
    (7, Struct(&[(1, Number), (2, Number), (3, Bool)])),
    (
        8,
        Struct(&[
            (1, Number),
            (2, Number),
            (3, Number),
            (4, Number),
            (5, Number),
            (6, Number),
            (7, Bool),
            (8, STATISTICS),
        ]),
    ),
]);

const SCHEMA: i16 = 2;
const ROWS: i16 = 3;
const GROUPS: i16 = 4;
const NAME: i16 = 4;
const CHILDREN: i16 = 5;

/// Maximum length of a list in a footer: limits its columns and its row groups, which Parquet numbers with 15 bits.
const MOST_ELEMENTS: u64 = 1 << 16;

/// Mismatch between bytes and a shape.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The bytes end too early.
    Short,
    /// Error text, as a predicate.
    Wrong(String),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Flaw::Short => f.write_str("is truncated"),
            Flaw::Wrong(what) => f.write_str(what),
        }
    }
}

/// Checks that `thrift` is the footer of a flat table.
pub(super) fn footer(thrift: &[u8]) -> Result<(), Flaw> {
    let (mut described, mut told, mut nested) = (0i64, 0i64, false);
    walk(thrift, &FOOTER, &mut |path, value| match path {
        [SCHEMA, NAME] => described += 1,
        // The first element is the table itself.
        [SCHEMA, CHILDREN] if described == 1 => told = value,
        [SCHEMA, CHILDREN] => nested |= value != 0,
        _ => {}
    })?;
    match described - 1 {
        _ if nested => Err(Flaw::Wrong("has nested columns, expected none".to_owned())),
        columns if columns != told => Err(Flaw::Wrong(format!("declares {told} columns and describes {columns}"))),
        _ => Ok(()),
    }
}

/// Claims of a page header.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Length of the header itself, in bytes.
    pub(super) header_bytes: u64,
    /// Type of the page.
    pub(super) kind: i64,
    /// Decompressed size in bytes.
    pub(super) uncompressed_bytes: i64,
    /// Size in the file, in bytes.
    pub(super) compressed_bytes: i64,
    /// Number of values, including nulls.
    pub(super) values: i64,
    /// Encoding of the values.
    pub(super) encoding: i64,
    /// Encodings of definition and repetition levels.
    pub(super) levels: [i64; 2],
}

/// Types of pages: values, dictionary, and values in the second version, which the recorder does not write.
pub(super) const VALUES_PAGE: i64 = 0;
pub(super) const DICTIONARY_PAGE: i64 = 2;
pub(super) const VALUES_PAGE_V2: i64 = 3;

/// Reads the header at the beginning of `bytes`.
pub(super) fn page_header(bytes: &[u8]) -> Result<PageHeader, Flaw> {
    let mut header = PageHeader::default();
    let (mut kinds, mut described) = (0, 0);
    let length = walk(bytes, &PAGE, &mut |path, value| match *path {
        [1] => header.kind = value,
        [2] => header.uncompressed_bytes = value,
        [3] => header.compressed_bytes = value,
        // Values, dictionary, values in the second version.
        [field @ (5 | 7 | 8), 1] => (header.values, described, kinds) = (value, field, kinds + 1),
        [5 | 7, 2] | [8, 4] => header.encoding = value,
        [5, field @ (3 | 4)] => header.levels[usize::from(field == 4)] = value,
        _ => {}
    })?;
    header.header_bytes = length as u64;
    match (described, header.kind) {
        _ if kinds != 1 => Err(Flaw::Wrong(format!("has {kinds} page types, expected one"))),
        (5, VALUES_PAGE) | (7, DICTIONARY_PAGE) | (8, VALUES_PAGE_V2) => Ok(header),
        (_, kind) => Err(Flaw::Wrong(format!("has page type {kind} and describes another"))),
    }
}

/// Walks a value of `shape` at the beginning of `bytes` and calls `visit` for each number and each text within structures, with its
/// path of field numbers, and the number, or the length of the text. Returns the length of the value.
fn walk(bytes: &[u8], shape: &Shape, visit: &mut dyn FnMut(&[i16], i64)) -> Result<usize, Flaw> {
    let mut walker = Walker { rest: bytes, path: Vec::new(), visit };
    walker.value(shape)?;
    Ok(bytes.len() - walker.rest.len())
}

struct Walker<'a, 'v> {
    rest: &'a [u8],
    path: Vec<i16>,
    visit: &'v mut dyn FnMut(&[i16], i64),
}

impl Walker<'_, '_> {
    fn value(&mut self, shape: &Shape) -> Result<(), Flaw> {
        match shape {
            Bool => {}
            Byte => drop(self.take(1)?),
            Number => {
                let value = self.varint()?;
                (self.visit)(&self.path, (value >> 1) as i64 ^ -((value & 1) as i64));
            }
            Bytes => {
                let length = self.varint()?;
                self.take(length)?;
                (self.visit)(&self.path, i64::try_from(length).unwrap_or(i64::MAX));
            }
            List(of) => self.list(of)?,
            Struct(fields) => self.structure(fields)?,
        }
        Ok(())
    }

    fn list(&mut self, of: &Shape) -> Result<(), Flaw> {
        let count = self.list_head(of)?;
        (0..count).try_for_each(|_| self.value(of))
    }

    /// Returns the number of elements of a list.
    fn list_head(&mut self, of: &Shape) -> Result<u64, Flaw> {
        let head = self.take(1)?[0];
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        // Each element takes at least one byte.
        if count > MOST_ELEMENTS.min(self.rest.len() as u64) {
            return Err(Flaw::Wrong(format!("has a list of {count} elements in {} bytes", self.rest.len())));
        }
        // An empty list need not declare its type.
        if count > 0 && !fits(head & 0xf, of) {
            return Err(self.wrong("has a list of another type than expected"));
        }
        Ok(count)
    }

    fn structure(&mut self, fields: &[(i16, Shape)]) -> Result<(), Flaw> {
        let mut last = 0i16;
        while let Some((number, shape)) = self.field(fields, last)? {
            self.value(shape)?;
            self.path.pop();
            last = number;
        }
        Ok(())
    }

    /// Returns the next field of a structure, and appends it to the path; `None` at the end of the structure.
    fn field<'s>(&mut self, fields: &'s [(i16, Shape)], last: i16) -> Result<Option<(i16, &'s Shape)>, Flaw> {
        let head = self.take(1)?[0];
        if head & 0xf == 0 {
            return Ok(None);
        }
        // An explicit number, in place of the distance from the last one, is only needed after fifteen missing fields, which no
        // such structure has. Decoders may interpret this form differently, as another field.
        let number = match head >> 4 {
            0 => return Err(self.wrong("has an unknown field")),
            delta => last.saturating_add(i16::from(delta)),
        };
        self.path.push(number);
        let Some((_, shape)) = fields.iter().find(|(known, _)| *known == number && number > last) else {
            return Err(self.wrong("has an unknown field"));
        };
        if !fits(head & 0xf, shape) {
            return Err(self.wrong("has a field of another type than expected"));
        }
        Ok(Some((number, shape)))
    }

    fn varint(&mut self) -> Result<u64, Flaw> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.wrong("has a number of more than 64 bits"))
    }

    fn take(&mut self, length: u64) -> Result<&[u8], Flaw> {
        let length = usize::try_from(length).map_err(|_| Flaw::Short)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Flaw::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn wrong(&self, what: &str) -> Flaw {
        let path: Vec<String> = self.path.iter().map(i16::to_string).collect();
        Flaw::Wrong(if path.is_empty() { what.to_owned() } else { format!("{what} (field {})", path.join(".")) })
    }
}

/// Whether a value with the declared type `tag` matches `shape`.
fn fits(tag: u8, shape: &Shape) -> bool {
    match shape {
        Bool => matches!(tag, 1 | 2),
        Byte => tag == 3,
        Number => matches!(tag, 4..=6),
        Bytes => tag == 8,
        List(_) => tag == 9,
        Struct(_) => tag == 12,
    }
}

#[cfg(test)]
mod tests;
