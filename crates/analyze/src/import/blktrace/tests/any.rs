//! Property tests: any bytes, and any records.

use proptest::prelude::*;

use super::*;

/// Valid and nearly valid records of three CPUs from `first_cpu` on.
fn likely(first_cpu: u32) -> impl Strategy<Value = Vec<u8>> {
    let action = prop_oneof![Just(Q), Just(G), Just(R), Just(D), Just(C), Just(I), Just(X), 0u32..20];
    let category = prop_oneof![Just(READ), Just(WRITE), Just(WRITE | FLUSH), Just(FLUSH), Just(NOTIFY), any::<u32>()];
    let sector = prop_oneof![0u64..64, any::<u64>()];
    let bytes = prop_oneof![Just(0u32), Just(512), Just(4096), Just(8192), any::<u32>()];
    let cpu = first_cpu..first_cpu + 3;
    let one = (0u64..100, action, category, sector, bytes, cpu, proptest::collection::vec(any::<u8>(), 0..40));
    proptest::collection::vec(one, 0..60).prop_map(|records| {
        let mut time = 0;
        let mut all = Vec::new();
        for (number, (step, action, category, sector, bytes, cpu, payload)) in records.into_iter().enumerate() {
            time += step;
            all.extend(bytes_of(time, category | action, sector, bytes, cpu, number as u32, &payload));
        }
        all
    })
}

proptest! {
    #[test]
    fn any_bytes_are_a_trace_or_told_to_be_none(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = import(&[bytes]);
    }

    #[test]
    fn any_records_become_requests_and_a_cut_is_told(first in likely(0), second in likely(3), cut in 0usize..4096) {
        let whole = import(&[first.clone(), second.clone()]);
        prop_assert!(whole.is_ok(), "{:#}", whole.err().map(|error| format!("{error:#}")).unwrap_or_default());
        let mut cut = cut % (first.len() + 1);
        let found = import(&[first[..cut].to_vec(), second]);
        prop_assert!(found.is_ok(), "{:#}", found.err().map(|error| format!("{error:#}")).unwrap_or_default());
        let is_told = found.is_ok_and(|(_, known)| known.is_cut_off);
        // Find out whether the cut is between two records.
        let mut rest = first.as_slice();
        while let Some(header) = rest.first_chunk::<48>() {
            let length = 48 + usize::from(u16::from_le_bytes([header[46], header[47]]));
            if length > cut {
                break;
            }
            (rest, cut) = (&rest[length..], cut - length);
        }
        prop_assert_eq!(is_told, cut > 0);
    }
}
