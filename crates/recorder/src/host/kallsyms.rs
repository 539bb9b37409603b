//! Addresses of kernel functions, from `/proc/kallsyms`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// Addresses of those of `names` that the kernel has and shows. It shows none without `CAP_SYSLOG`, or with
/// `kernel.kptr_restrict` at 2.
pub fn addresses(names: &[&'static str]) -> HashMap<&'static str, u64> {
    let Ok(file) = File::open("/proc/kallsyms") else { return HashMap::new() };
    parse(BufReader::new(file), names)
}

/// Lines are `ffffffff81234560 t name`, followed by `[module]` for symbols of modules.
fn parse(lines: impl BufRead, names: &[&'static str]) -> HashMap<&'static str, u64> {
    let mut found = HashMap::new();
    for line in lines.lines().map_while(Result::ok) {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some("t" | "T"), Some(symbol)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Some(name) = names.iter().find(|name| **name == symbol) else { continue };
        if let Ok(address) = u64::from_str_radix(address, 16)
            && address != 0
        {
            found.insert(*name, address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_their_whole_name_and_hidden_ones_are_not() {
        let text = "ffffffff81000010 t end_bio\nffffffff81000020 T end_bio_more\nffffffffc0000030 t xlog_end\t[xfs]\n\
                    ffffffff81000040 d data\n0000000000000000 T hidden\nnonsense\n";
        let found = parse(text.as_bytes(), &["end_bio", "xlog_end", "data", "hidden", "absent"]);
        assert_eq!(found, HashMap::from([("end_bio", 0xffff_ffff_8100_0010), ("xlog_end", 0xffff_ffff_c000_0030)]));
    }
}
