//! What a footer and the header of a page must look like, checked before a library makes anything of them.
//!
//! Both are Thrift in its compact form. Its decoder takes the bytes of a field for what it expects there, whatever they say that
//! they are, sets memory aside for as many columns as a group claims to have, and goes down as deep as groups are nested. So
//! only what the recorder and the usual writers write passes: these fields, of these types, and no list that is longer than it has bytes.

mod pieces;

use Shape::{Bool, Byte, Bytes, List, Number, Struct};
pub(super) use pieces::{Pieces, pieces};

/// The type of a value.
pub(super) enum Shape {
    /// In a structure the type says which of the two it is.
    Bool,
    /// 8 bits.
    Byte,
    /// 16, 32 or 64 bits: they differ in nothing but what is made of them.
    Number,
    /// Text or anything else.
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

/// What a value of a column means: a text (1), an integer of so many bits (10). The others are of columns that somebody added: decimals, times, and what
/// has no more to it than its name.
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

/// Whether it is in UTC, and in milli-, micro- or nanoseconds.
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

/// No list of a footer is longer: neither its columns nor its row groups, which Parquet numbers with 15 bits.
const MOST_ELEMENTS: u64 = 1 << 16;

/// Why bytes are not of a shape.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// They end too early.
    Short,
    /// What is wrong, as a predicate.
    Wrong(String),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Flaw::Short => f.write_str("is cut short"),
            Flaw::Wrong(what) => f.write_str(what),
        }
    }
}

/// Whether `thrift` is the footer of a table whose columns are next to each other.
pub(super) fn footer(thrift: &[u8]) -> Result<(), Flaw> {
    let (mut described, mut told, mut nested) = (0i64, 0i64, false);
    walk(thrift, &FOOTER, &mut |path, value| match path {
        [SCHEMA, NAME] => described += 1,
        // The first of them is the table itself.
        [SCHEMA, CHILDREN] if described == 1 => told = value,
        [SCHEMA, CHILDREN] => nested |= value != 0,
        _ => {}
    })?;
    match described - 1 {
        _ if nested => Err(Flaw::Wrong("has columns within columns, expected none".to_owned())),
        columns if columns != told => Err(Flaw::Wrong(format!("tells of {told} columns and describes {columns}"))),
        _ => Ok(()),
    }
}

/// What the header of a page claims.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// How long it is itself.
    pub(super) header_bytes: u64,
    /// What kind of page it is.
    pub(super) kind: i64,
    /// Its size once it is decompressed.
    pub(super) uncompressed_bytes: i64,
    /// Its size in the file.
    pub(super) compressed_bytes: i64,
    /// Its values, nulls included.
    pub(super) values: i64,
    /// How they are encoded.
    pub(super) encoding: i64,
    /// How it is encoded which of them are null, and which repeat.
    pub(super) levels: [i64; 2],
}

/// A page of values, of a dictionary, and of values in the second form, which the recorder does not write.
pub(super) const VALUES_PAGE: i64 = 0;
pub(super) const DICTIONARY_PAGE: i64 = 2;
pub(super) const VALUES_PAGE_V2: i64 = 3;

/// The header at the beginning of `bytes`.
pub(super) fn page_header(bytes: &[u8]) -> Result<PageHeader, Flaw> {
    let mut header = PageHeader::default();
    let (mut kinds, mut described) = (0, 0);
    let length = walk(bytes, &PAGE, &mut |path, value| match *path {
        [1] => header.kind = value,
        [2] => header.uncompressed_bytes = value,
        [3] => header.compressed_bytes = value,
        // Of a page of values, of a dictionary, of values in the second form.
        [field @ (5 | 7 | 8), 1] => (header.values, described, kinds) = (value, field, kinds + 1),
        [5 | 7, 2] | [8, 4] => header.encoding = value,
        [5, field @ (3 | 4)] => header.levels[usize::from(field == 4)] = value,
        _ => {}
    })?;
    header.header_bytes = length as u64;
    match (described, header.kind) {
        _ if kinds != 1 => Err(Flaw::Wrong(format!("is of {kinds} kinds at once, expected one"))),
        (5, VALUES_PAGE) | (7, DICTIONARY_PAGE) | (8, VALUES_PAGE_V2) => Ok(header),
        (_, kind) => Err(Flaw::Wrong(format!("is of kind {kind} and describes another"))),
    }
}

/// Goes through a value of `shape` at the beginning of `bytes` and tells `visit` of each number and each text within
/// structures: under which field numbers, and the number, or the length of the text. How long it all is.
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

    /// How many elements a list has.
    fn list_head(&mut self, of: &Shape) -> Result<u64, Flaw> {
        let head = self.take(1)?[0];
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        // Each takes a byte at least.
        if count > MOST_ELEMENTS.min(self.rest.len() as u64) {
            return Err(Flaw::Wrong(format!("has a list of {count} elements in {} bytes", self.rest.len())));
        }
        // An empty one may say nothing of what it is empty of.
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

    /// The next field of a structure, which is on the path from now on; none at the end of the structure.
    fn field<'s>(&mut self, fields: &'s [(i16, Shape)], last: i16) -> Result<Option<(i16, &'s Shape)>, Flaw> {
        let head = self.take(1)?[0];
        if head & 0xf == 0 {
            return Ok(None);
        }
        // A number of its own, in place of the distance from the last, has only what leaves out fifteen: no such structure is there. Of that form a decoder
        // may make another number than is meant, which is then another field.
        let number = match head >> 4 {
            0 => return Err(self.wrong("has a field that no writer of captures writes")),
            delta => last.saturating_add(i16::from(delta)),
        };
        self.path.push(number);
        let Some((_, shape)) = fields.iter().find(|(known, _)| *known == number && number > last) else {
            return Err(self.wrong("has a field that no writer of captures writes"));
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

/// Whether a value that says that it is of type `tag` is of `shape`.
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
