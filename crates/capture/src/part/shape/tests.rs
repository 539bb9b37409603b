use super::*;

/// A schema of the table itself and `columns` columns, each with a number of `children`.
fn schema(columns: u8, told: u8, children: Option<u8>) -> Vec<u8> {
    // Field 2, a list of structures; each with a one-letter name and the number of children.
    let mut thrift = vec![0x29, (columns + 1) << 4 | 0xc];
    thrift.extend([0x48, 1, b't', 0x15, told << 1, 0]);
    for _ in 0..columns {
        thrift.extend([0x48, 1, b'c']);
        thrift.extend(children.into_iter().flat_map(|children| [0x15, children << 1]));
        thrift.push(0);
    }
    thrift.push(0);
    thrift
}

#[test]
fn columns_are_next_to_each_other_and_as_many_as_are_told() {
    assert_eq!(footer(&schema(3, 3, None)), Ok(()));
    assert_eq!(footer(&schema(3, 3, Some(0))), Ok(()));
    let wrong = |thrift: &[u8]| footer(thrift).expect_err("wrong").to_string();
    assert_eq!(wrong(&schema(3, 3, Some(1))), "has nested columns, expected none");
    assert_eq!(wrong(&schema(3, 60, None)), "declares 60 columns and describes 3");
    assert_eq!(wrong(&schema(3, 3, None)[..9]), "is truncated");
}

#[test]
fn nothing_passes_that_says_to_be_another_thing_or_more_than_there_is() {
    let wrong = |thrift: &[u8]| footer(thrift).expect_err("wrong").to_string();
    // 2,147,483,647 columns; a text in place of the columns; an unknown field; the same field twice; a number without an
    // end.
    assert_eq!(wrong(&[0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0]), "has a list of 2147483647 elements in 1 bytes");
    assert_eq!(wrong(&[0x28, 0, 0]), "has a field of another type than expected (field 2)");
    assert_eq!(wrong(&[0x29, 0x15, 1, 0]), "has a list of another type than expected (field 2)");
    assert_eq!(wrong(&[0x8c, 0, 0]), "has an unknown field (field 8)");
    // The same field again, with an explicit number; decoders read 3 as 1 or as -2.
    assert_eq!(wrong(&[0x15, 2, 0x05, 2, 2, 0]), "has an unknown field");
    assert_eq!(wrong(&[0x05, 3, 2, 0]), "has an unknown field");
    assert_eq!(wrong(&[[0x15].as_slice(), &[0xff; 11]].concat()), "has a number of more than 64 bits (field 1)");
}

#[test]
fn the_header_of_a_page_tells_what_the_page_claims() {
    // A page of 3 values, 300 bytes, 20 of them in the file; delta encoding.
    let header = [0x15, 0, 0x15, 0xd8, 4, 0x15, 40, 0x2c, 0x15, 6, 0x15, 10, 0x15, 6, 0x15, 6, 0, 0];
    let expected = PageHeader {
        header_bytes: 18,
        kind: 0,
        uncompressed_bytes: 300,
        compressed_bytes: 20,
        values: 3,
        encoding: 5,
        levels: [3, 3],
    };
    assert_eq!(page_header(&header), Ok(expected));
    assert_eq!(page_header(&[&header[..], &[0xff; 9]].concat()), Ok(expected));
    for length in 0..header.len() {
        assert_eq!(page_header(&header[..length]), Err(Flaw::Short));
    }
    let none = page_header(&[0x15, 0, 0x15, 0, 0x15, 0, 0]).expect_err("wrong").to_string();
    assert_eq!(none, "has 0 page types, expected one");
    // Second version: 3 values, none null, in 3 rows; dictionary keys, two bytes of levels, not compressed.
    let second = [0x15, 6, 0x15, 20, 0x15, 20, 0x5c, 0x15, 6, 0x15, 0, 0x15, 6, 0x15, 16, 0x15, 4, 0x15, 0, 0x12, 0, 0];
    let expected = PageHeader {
        header_bytes: 22,
        kind: VALUES_PAGE_V2,
        uncompressed_bytes: 10,
        compressed_bytes: 10,
        values: 3,
        encoding: 8,
        levels: [0, 0],
    };
    assert_eq!(page_header(&second), Ok(expected));
    let mut another = header;
    another[1] = 4;
    let error = page_header(&another).expect_err("wrong").to_string();
    assert_eq!(error, "has page type 2 and describes another");
}
