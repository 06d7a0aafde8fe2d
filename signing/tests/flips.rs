//! No damaged file is ever accepted, and none makes the parser panic.

mod common;

use common::*;
use proptest::prelude::*;

#[test]
fn every_single_bit_counts() {
    let good = signed(1);
    assert_eq!(answer(&good), "ok");
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(answer(&bytes), "ok", "bit {bit}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let good = signed(1);
    for len in 0..good.len() {
        assert_ne!(answer(&good[..len]), "ok", "{len} bytes");
    }
}

proptest! {
    #[test]
    fn edits_are_refused(at in any::<prop::sample::Index>(), cut in 0usize..8, insert in prop::collection::vec(any::<u8>(), 0..8)) {
        let good = signed(1);
        let at = at.index(good.len() + 1);
        let end = (at + cut).min(good.len());
        let bytes = [&good[..at], &insert, &good[end..]].concat();
        prop_assume!(bytes != good);
        prop_assert_ne!(answer(&bytes), "ok");
    }

    #[test]
    fn anything_is_parsed_without_panic(tail in prop::collection::vec(any::<u8>(), 0..512), prefix in 0usize..200) {
        let good = signed(1);
        let bytes = [&good[..prefix.min(good.len())], &tail].concat();
        prop_assert_ne!(answer(&bytes), "ok");
        let _ = arcana_signing::envelope::contents(&bytes);
    }

    #[test]
    fn a_signed_file_keeps_its_body(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let body = [custom("arcana:plugin", &payload), section(1, &payload)].concat();
        let bytes = arcana_signing::envelope::sign(&file(std::slice::from_ref(&body)), &[&key(1), &key(2)]).unwrap();
        prop_assert!(bytes.ends_with(&body));
        prop_assert_eq!(answer(&bytes), "ok");
    }
}
