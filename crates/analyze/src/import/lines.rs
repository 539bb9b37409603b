//! Import of published traces that are lines of text: reading files and parsing lines.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use iostrata_capture::op::Op;

use super::begun::Begun;
use super::gathered::Gathered;
use super::traced::Traced;
use super::unpacked;
use crate::valid::{self, MOST_BYTES, MOST_BYTES_WORDS};

/// Size of a sector, independent of the block size of the disk.
const SECTOR_BYTES: i64 = 512;

/// Maximum length of a line.
const MOST_LINE_BYTES: u64 = 1 << 16;

/// Prefix that some programs write before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Imports the requests of a file; errors name the line and the fault. Of a truncated file the complete requests are imported.
pub fn read(format: Format, path: &Path, begun: &mut Begun, gathered: &mut Gathered) -> Result<()> {
    let (lines, is_packed) = unpacked::open(path)?;
    let mut lines = BufReader::with_capacity(1 << 20, lines);
    let mut line = Vec::new();
    // Start of the last request.
    let mut last_ns = None;
    begun.file(path);
    // First empty line. Empty lines are allowed at the end only.
    let mut empty = None;
    for number in 1u64.. {
        line.clear();
        // Data without line ends is no text; it must not fill the memory.
        match lines.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Err(error) if unpacked::is_cut_off(is_packed, &error) && last_ns.is_some() => {
                gathered.known.cut_off(last_ns);
                gathered.known.remarks.push(super::cut_off(path, unpacked::CUT_OFF));
                break;
            }
            // The line number shows how far the file could be read.
            Err(error) if number > 1 => return Err(error).with_context(|| format!("after line {}", number - 1)),
            read => read?,
        };
        if line.len() as u64 == MOST_LINE_BYTES {
            bail!("line {number} is longer than {MOST_LINE_BYTES} bytes");
        }
        let text = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 1).unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            empty.get_or_insert(number);
            continue;
        }
        if let Some(empty) = empty {
            bail!("line {empty} is empty, expected a request: there are others after it");
        }
        // None of these formats has a quoted field.
        let fields: Vec<&[u8]> = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
        if number == 1 && format.is_header(&fields) {
            continue;
        }
        let told = format.parse(&fields);
        if !line.ends_with(b"\n") {
            // All lines of these formats end with a newline. Without one, the last number of a readable line may lack digits.
            let bytes = line.len();
            let what = match told {
                Ok(_) => format!(
                    "its last {bytes} bytes are a line without a newline, which may be truncated within a number (add one if it is not)"
                ),
                Err(_) if last_ns.is_some() => format!("its last {bytes} bytes are an incomplete line"),
                Err(what) => bail!("line {number}: {what}"),
            };
            if last_ns.is_none() {
                bail!("{what}; there is no request before it");
            }
            gathered.known.cut_off(last_ns);
            gathered.known.remarks.push(super::cut_off(path, &what));
            break;
        }
        let told = told.map_err(|what| anyhow!("line {number}: {what}"))?;
        begun.line(text)?;
        let dev = gathered.known.disks.named(&told.disk).with_context(|| format!("line {number}"))?;
        let traced = Traced::new(dev, told.ts_ns, told.op, told.sector, told.bytes);
        gathered.push(&Traced { dur_ns: told.dur_ns, ..traced })?;
        last_ns = Some(told.ts_ns);
    }
    begun.end()
}

/// Format of the lines of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// MSR Cambridge (Narayanan et al., FAST 2008): `Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime`; times in units of 100 ns, since
    /// 1601; offset and size in bytes.
    Msr,
    /// Alibaba block traces (Li et al., IISWC 2020): `device_id,opcode,offset,length,timestamp`; offset and length in bytes, time in microseconds.
    Alibaba,
    /// Tencent CBS (Zhang et al., ATC 2020): `Timestamp,Offset,Size,IOType,VolumeID`; time in seconds, offset and size in sectors, 0 reads and
    /// 1 writes.
    Tencent,
}

/// Request in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedRequest {
    /// Name of its disk in the trace.
    pub disk: Vec<u8>,
    /// Start in ns since 1970.
    pub ts_ns: i64,
    /// Duration in ns, if the trace has it.
    pub dur_ns: Option<i64>,
    /// Read or write.
    pub op: Op,
    /// First sector.
    pub sector: i64,
    /// Size in bytes.
    pub bytes: i64,
}

/// Time from 1601, the epoch of Windows, to 1970, in units of 100 ns.
const WINDOWS_EPOCH: i64 = 116_444_736_000_000_000;

impl Format {
    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Msr => "msr",
            Format::Alibaba => "alibaba",
            Format::Tencent => "tencent",
        }
    }

    /// Whether it has durations of requests.
    pub const fn tells_durations(self) -> bool {
        matches!(self, Format::Msr)
    }

    /// Returns the columns of its lines.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Format::Msr => &["Timestamp", "Hostname", "DiskNumber", "Type", "Offset", "Size", "ResponseTime"],
            Format::Alibaba => &["device_id", "opcode", "offset", "length", "timestamp"],
            Format::Tencent => &["Timestamp", "Offset", "Size", "IOType", "VolumeID"],
        }
    }

    /// Whether a line names the columns.
    pub fn is_header(self, line: &[&[u8]]) -> bool {
        let same = |(field, name): (&&[u8], &&str)| field.eq_ignore_ascii_case(name.as_bytes());
        line.len() == self.columns().len() && line.iter().zip(self.columns()).all(same)
    }

    /// Returns the request of a line, or the fault of the line.
    pub fn parse(self, line: &[&[u8]]) -> Result<ParsedRequest, String> {
        let columns = self.columns();
        if line.len() != columns.len() {
            let (found, expected) = (line.len(), columns.len());
            return Err(format!("{found} columns, expected {expected}: {}", columns.join(",")));
        }
        let text = |column: usize| line.get(column).copied().unwrap_or_default();
        let wrong = |column: usize, expected: &str| {
            let found: String = String::from_utf8_lossy(text(column)).chars().take(40).collect();
            format!("{} is {found:?}, expected {expected}", columns[column])
        };
        let number = |column: usize, scale: i64| {
            let number = std::str::from_utf8(text(column)).ok().and_then(|text| text.parse::<i64>().ok());
            let scaled = number.filter(|number| *number >= 0).and_then(|number| number.checked_mul(scale));
            scaled.ok_or_else(|| wrong(column, "a whole number that is not negative, nor beyond 64 bits"))
        };
        let sector = |column: usize| match number(column, 1)? {
            bytes if bytes % SECTOR_BYTES == 0 => Ok(bytes / SECTOR_BYTES),
            _ => Err(wrong(column, "a multiple of 512")),
        };
        let op = |column: usize, [read, write]: [&[u8]; 2]| match text(column) {
            word if word.eq_ignore_ascii_case(read) => Ok(Op::Read),
            word if word.eq_ignore_ascii_case(write) => Ok(Op::Write),
            _ => Err(wrong(column, &[read, write].map(String::from_utf8_lossy).join(" or "))),
        };
        let told = match self {
            Format::Msr => ParsedRequest {
                disk: [text(1), b"_", text(2)].concat(),
                ts_ns: {
                    let since = number(0, 1)?.checked_sub(WINDOWS_EPOCH).filter(|since| *since >= 0);
                    since
                        .and_then(|since| since.checked_mul(100))
                        .ok_or_else(|| wrong(0, "a Windows time after 1970"))?
                },
                dur_ns: Some(number(6, 100)?),
                op: op(3, [b"Read", b"Write"])?,
                sector: sector(4)?,
                bytes: number(5, 1)?,
            },
            Format::Alibaba => ParsedRequest {
                disk: text(0).to_vec(),
                ts_ns: number(4, 1_000)?,
                dur_ns: None,
                op: op(1, [b"R", b"W"])?,
                sector: sector(2)?,
                bytes: number(3, 1)?,
            },
            Format::Tencent => ParsedRequest {
                disk: text(4).to_vec(),
                ts_ns: number(0, 1_000_000_000)?,
                dur_ns: None,
                op: op(3, [b"0", b"1"])?,
                sector: number(1, 1)?,
                bytes: number(2, SECTOR_BYTES)?,
            },
        };
        let (offset, size) = match self {
            Format::Msr => (4, 5),
            Format::Alibaba => (2, 3),
            Format::Tencent => (1, 2),
        };
        if valid::bytes(told.bytes).is_none() {
            return Err(wrong(size, &format!("at most {MOST_BYTES} bytes ({MOST_BYTES_WORDS})")));
        }
        let position = told.sector.checked_mul(SECTOR_BYTES);
        if position.and_then(|position| valid::range_end(position, told.bytes)).is_none() {
            return Err(wrong(offset, "a request that ends below 2^63 bytes"));
        }
        if told.dur_ns.is_some() && valid::end_ns(told.ts_ns, told.dur_ns).is_none() {
            return Err(wrong(6, "a request that ends before 2^63 ns since 1970"));
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: Format, line: &str) -> Result<ParsedRequest, String> {
        format.parse(&line.split(',').map(str::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn a_line_of_each_format_is_a_request() {
        let traced = |disk: &str, ts_ns, dur_ns, op, sector, bytes| {
            Ok(ParsedRequest { disk: disk.into(), ts_ns, dur_ns, op, sector, bytes })
        };
        // 22 February 2007, 17:00:00.0012345 UTC.
        assert_eq!(
            parse(Format::Msr, "128166372000012345,src1,2,Write,7014609920,24576,41286"),
            traced("src1_2", 1_172_163_600_001_234_500, Some(4_128_600), Op::Write, 13_700_410, 24_576)
        );
        assert_eq!(
            parse(Format::Alibaba, "0,R,126703644672,4096,1577808000000626"),
            traced("0", 1_577_808_000_000_626_000, None, Op::Read, 247_468_056, 4_096)
        );
        assert_eq!(
            parse(Format::Tencent, "1538323200,12910952,128,1,1063"),
            traced("1063", 1_538_323_200_000_000_000, None, Op::Write, 12_910_952, 65_536)
        );
    }

    #[test]
    fn a_line_that_is_wrong_is_told_by_its_column() {
        for (line, expected) in [
            ("1,2,3", "3 columns, expected 5: device_id,opcode,offset,length,timestamp"),
            ("0,X,0,512,1", "opcode is \"X\", expected R or W"),
            ("0,R,100,512,1", "offset is \"100\", expected a multiple of 512"),
            ("0,R,0,-1,1", "length is \"-1\", expected a whole number that is not negative, nor beyond 64 bits"),
            (
                "0,R,0,1,99999999999999999",
                "timestamp is \"99999999999999999\", expected a whole number that is not negative, nor beyond 64 bits",
            ),
        ] {
            assert_eq!(parse(Format::Alibaba, line), Err(expected.to_owned()));
        }
        for (format, line, expected) in [
            (
                Format::Alibaba,
                "0,R,0,281474976710657,1",
                "length is \"281474976710657\", expected at most 281474976710656 bytes (256 TiB)",
            ),
            (
                Format::Tencent,
                "1,0,549755813889,1,1",
                "Size is \"549755813889\", expected at most 281474976710656 bytes (256 TiB)",
            ),
            (
                Format::Alibaba,
                "0,R,9223372036854775296,512,1",
                "offset is \"9223372036854775296\", expected a request that ends below 2^63 bytes",
            ),
            (
                Format::Tencent,
                "1,18014398509481984,1,1,1",
                "Offset is \"18014398509481984\", expected a request that ends below 2^63 bytes",
            ),
            (
                Format::Msr,
                "208678456368547758,a,0,Read,0,0,1",
                "ResponseTime is \"1\", expected a request that ends before 2^63 ns since 1970",
            ),
        ] {
            assert_eq!(parse(format, line), Err(expected.to_owned()));
        }
        parse(Format::Msr, "208678456368547758,a,0,Read,9223090561878064640,281474976710656,0").expect("the maximum");
        assert!(parse(Format::Msr, "1,a,0,Read,0,0,0").is_err_and(|what| what.contains("a Windows time after 1970")));
    }

    #[test]
    fn a_header_is_none_of_another_format() {
        let header = ["Timestamp", "Offset", "Size", "IOType", "VolumeID"].map(str::as_bytes);
        assert!(Format::Tencent.is_header(&header) && !Format::Alibaba.is_header(&header));
    }
}
