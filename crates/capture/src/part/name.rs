//! Name of a part within its capture.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{finished_name, finished_number};
use crate::TableId;

/// Table and number: `block/part-000001.parquet`. The name cannot lead out of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartName {
    /// Table.
    pub table: TableId,
    /// Number within the table, from 1 on.
    pub number: u32,
}

impl PartName {
    /// Returns the file name in the folder of the table.
    pub fn file(&self) -> String {
        finished_name(self.number)
    }

    /// Returns the path of the part in the capture in `directory`.
    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.to_string())
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.table, finished_name(self.number))
    }
}

impl FromStr for PartName {
    type Err = String;

    fn from_str(text: &str) -> Result<PartName, String> {
        let parts = text.split_once('/').and_then(|(table, file)| Some((table, finished_number(file)?)));
        let (name, number) =
            parts.ok_or_else(|| format!("{text:?} is not a part name, expected TABLE/part-NNNNNN.parquet"))?;
        Ok(PartName { table: TableId::named(name)?, number })
    }
}

impl Serialize for PartName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PartName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PartName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_a_table_and_has_one_form() {
        let name = PartName { table: TableId::Block, number: 1_000_000 };
        assert_eq!(name.to_string().parse(), Ok(name));
        assert_eq!(name.path(Path::new("run1")), Path::new("run1/block/part-1000000.parquet"));
        for wrong in
            ["", "block", "block/", "../block/part-000001.parquet", "block/part-1.parquet", "block//etc/passwd"]
        {
            let error = wrong.parse::<PartName>().expect_err("no name");
            assert_eq!(error, format!("{wrong:?} is not a part name, expected TABLE/part-NNNNNN.parquet"));
        }
        let error = "blocks/part-000001.parquet".parse::<PartName>().expect_err("no table");
        assert!(error.starts_with("unknown table \"blocks\", expected one of syscall, vfs"), "{error}");
    }
}
