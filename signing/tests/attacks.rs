//! Every attack on the envelope builds its hostile file and gets the documented code.

mod common;

use arcana_signing::PublicKey;
use arcana_signing::envelope::{self, COMPONENT_HEADER, Digest, sign};
use common::*;

#[test]
fn a_file_as_we_sign_it_is_accepted_and_carries_its_parts() {
    let bytes = signed(1);
    let envelope = envelope::parse(&bytes).unwrap();
    let policy = trusting(1);
    let verified = policy.verify(&envelope).unwrap();
    assert_eq!(verified.manifest(), MANIFEST);
    assert_eq!(verified.body(), body());
    assert_eq!(verified.digest(), Digest::of(&body()));
    assert_eq!(verified.signers().len(), 1);
    assert_eq!(bytes, with_entries(&body(), &[valid_entry(1, &body())]), "the documented bytes, and no others");
}

#[test]
fn a_known_signer_beside_an_unknown_one_is_accepted() {
    let bytes = sign(&signed(9), &[&key(1)]).unwrap();
    let envelope = envelope::parse(&bytes).unwrap();
    let policy = trusting(1);
    let verified = policy.verify(&envelope).unwrap();
    assert_eq!(verified.signers()[0].principal, "acme");
    assert_eq!(verified.unknown(), [key(9).public_key().key_id()]);
    assert_eq!(verified.body(), body());
}

#[test]
fn what_is_no_component_is_refused() {
    let module = b"\0asm\x01\0\0\0".to_vec();
    let mut other_version = packed();
    other_version[4] = 0x0e;
    for bytes in
        [module, b"(component)".to_vec(), b"\x7fELF\x02\x01\x01".to_vec(), Vec::new(), b"\0as".to_vec(), other_version]
    {
        assert_eq!(answer(&bytes), "NOT_COMPONENT", "{bytes:?}");
    }
}

#[test]
fn what_is_not_signed_in_its_first_section_is_refused() {
    let valid = signature_section(&[set(&body(), &[valid_entry(1, &body())])]);
    let nested = section(4, &file(&[valid.clone(), body()]));
    for bytes in [
        COMPONENT_HEADER.to_vec(),
        packed(),
        file(&[custom("producers", b""), valid.clone(), body()]),
        file(&[nested]),
        file(&[custom("Signature", &valid), body()]),
    ] {
        assert_eq!(answer(&bytes), "UNSIGNED");
    }
}

#[test]
fn what_is_not_the_signed_content_is_refused() {
    let good = signed(1);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let other_body = [body(), custom("x", b"")].concat();
    let lifted = file(&[signature_section(&[set(&body(), &[valid_entry(1, &body())])]), other_body]);
    let second = [good.clone(), signature_section(&[set(&body(), &[valid_entry(1, &body())])])].concat();
    for bytes in [
        flipped,
        [good.clone(), vec![0]].concat(),
        [good.clone(), custom("x", b"y")].concat(),
        good[..good.len() - 1].to_vec(),
        lifted,
        second,
    ] {
        assert_eq!(answer(&bytes), "DIGEST_MISMATCH");
    }
}

#[test]
fn partial_signatures_are_refused() {
    let (body, entries) = (body(), [valid_entry(1, &body())]);
    let two_sets = file(&[signature_section(&[set(&body, &entries), set(&body, &entries)]), body.clone()]);
    let no_set = file(&[signature_section(&[]), body.clone()]);
    let hash = Digest::of(&body).0.to_vec();
    let two_hashes = [vec![2], hash.clone(), hash.clone(), vec![1], entries.concat()].concat();
    let no_hash = [vec![0, 1], entries.concat()].concat();
    for bytes in [
        two_sets,
        no_set,
        file(&[signature_section(&[two_hashes]), body.clone()]),
        file(&[signature_section(&[no_hash]), body]),
    ] {
        assert_eq!(answer(&bytes), "PARTIAL_SIGNATURE");
    }
}

#[test]
fn trailing_bytes_are_refused_at_every_level() {
    let body = body();
    let key = key(1);
    let inner = [sized(&key.public_key().key_id().0), vec![1], sized(&key.sign(&Digest::of(&body)))].concat();
    let long_entry = sized(&[inner, vec![0]].concat());
    let long_set = [set(&body, &[valid_entry(1, &body)]), vec![0]].concat();
    let content = [vec![1, 1, 1, 1], sized(&set(&body, &[valid_entry(1, &body)])), vec![0]].concat();
    for bytes in [
        with_entries(&body, &[long_entry]),
        file(&[signature_section(&[long_set]), body.clone()]),
        file(&[custom("signature", &content), body.clone()]),
    ] {
        assert_eq!(answer(&bytes), "SIG_TRAILING_BYTES");
    }
}

#[test]
fn the_number_of_signatures_is_bounded() {
    let body = body();
    let entries = |count: u8| (1..=count).map(|seed| valid_entry(seed, &body)).collect::<Vec<_>>();
    assert_eq!(answer(&with_entries(&body, &entries(0))), "SIG_COUNT");
    assert_eq!(answer(&with_entries(&body, &entries(8))), "ok");
    assert_eq!(answer(&with_entries(&body, &entries(9))), "SIG_COUNT");
    let full = with_entries(&body, &entries(8));
    assert_eq!(sign(&full, &[&key(9)]).unwrap_err().code(), "SIG_COUNT");
    assert_eq!(sign(&packed(), &[]).unwrap_err().code(), "SIG_COUNT");
}

#[test]
fn one_signer_signs_once() {
    let body = body();
    let twice = [valid_entry(1, &body), valid_entry(1, &body)];
    assert_eq!(answer(&with_entries(&body, &twice)), "DUPLICATE_SIGNER");
    assert_eq!(sign(&signed(1), &[&key(1)]).unwrap_err().code(), "DUPLICATE_SIGNER");
}

#[test]
fn signatures_that_the_key_did_not_make_are_refused() {
    let body = body();
    let (own, digest) = (key(1), Digest::of(&body));
    let id = own.public_key().key_id().0;
    let good = own.sign(&digest);

    // S + L: the same signature to those who do not reduce S.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleable = good;
    let mut carry = 0u16;
    for (byte, add) in malleable[32..].iter_mut().zip(L) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0);

    // R is the identity, S is zero.
    let mut identity = [0; 64];
    identity[0] = 1;

    let without_domain = {
        use ed25519_dalek::Signer as _;
        ed25519_dalek::SigningKey::from_bytes(&[1; 32]).sign(&digest.0).to_bytes()
    };
    let by_another_key = key(2).sign(&digest);
    for signature in [malleable, identity, without_domain, by_another_key, [0; 64]] {
        assert_eq!(answer(&with_entries(&body, &[entry(&id, &signature)])), "BAD_SIGNATURE");
    }
    assert_eq!(answer(&with_entries(&body, &[entry(&id, &good[..63])])), "BAD_SIGNATURE");
    // A bad signature under a trusted key refuses the file even where another one is good.
    let policy = policy(
        &[KeyText { seed: 1, principal: "acme", more: "" }, KeyText { seed: 2, principal: "acme", more: "" }],
        "",
    );
    let mixed = with_entries(&body, &[valid_entry(2, &body), entry(&id, &by_another_key)]);
    let envelope = envelope::parse(&mixed).unwrap();
    assert_eq!(policy.verify(&envelope).unwrap_err().code(), "BAD_SIGNATURE");
}

#[test]
fn keys_that_anybody_can_sign_for_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    // The order-2 point, and the identity encoded as p + 1.
    let minus_one = hex::decode("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f").unwrap();
    let non_canonical = hex::decode("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f").unwrap();
    for bytes in [identity, [0; 32], minus_one.try_into().unwrap(), non_canonical.try_into().unwrap()] {
        assert_eq!(PublicKey::from_bytes(&bytes).unwrap_err().code(), "BAD_KEY");
    }
}

#[test]
fn key_ids_are_12_bytes() {
    let body = body();
    let signature = key(1).sign(&Digest::of(&body));
    let id = key(1).public_key().key_id().0;
    for id in [&[][..], &id[..11], &[0; 13]] {
        assert_eq!(answer(&with_entries(&body, &[entry(id, &signature)])), "BAD_KEY_ID");
    }
}

#[test]
fn foreign_keys_are_refused() {
    assert_eq!(answer(&signed(2)), "UNKNOWN_KEY");
    let signature = key(1).sign(&Digest::of(&body()));
    assert_eq!(answer(&with_entries(&body(), &[entry(&[7; 12], &signature)])), "UNKNOWN_KEY");
}

#[test]
fn numbers_have_one_form() {
    let body = body();
    let set = set(&body, &[valid_entry(1, &body)]);
    let content = |len: &[u8]| [vec![1, 1, 1, 1], len.to_vec(), set.clone()].concat();
    let padded = {
        let mut len = leb(set.len());
        *len.last_mut().unwrap() |= 0x80;
        len.push(0);
        len
    };
    assert_eq!(answer(&file(&[custom("signature", &content(&padded)), body.clone()])), "LEB_NOT_MINIMAL");
    for overflowing in [&[0xff, 0xff, 0xff, 0xff, 0x1f][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]] {
        assert_eq!(answer(&file(&[custom("signature", &content(overflowing)), body.clone()])), "LEB_OVERFLOW");
    }
    let padded_section = [COMPONENT_HEADER.to_vec(), vec![0, 0x80 | 0x0a, 0x00], sized(b"signature")].concat();
    assert_eq!(answer(&padded_section), "LEB_NOT_MINIMAL");
}

#[test]
fn claimed_lengths_are_not_believed() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let in_set = |content: &[u8]| file(&[custom("signature", &[&[1, 1, 1, 1][..], content].concat()), body()]);
    let entry_claim = [vec![1], vec![0; 32], vec![1], huge.to_vec()].concat();
    let key_id_claim = [vec![1], vec![0; 32], vec![1], sized(&huge)].concat();
    for bytes in [
        [&COMPONENT_HEADER[..], &[0], &huge, &sized(b"signature")].concat(),
        [&COMPONENT_HEADER[..], &section(0, &huge)].concat(),
        in_set(&huge),
        in_set(&sized(&entry_claim)),
        in_set(&sized(&key_id_claim)),
        signed(1)[..40].to_vec(),
    ] {
        assert_eq!(answer(&bytes), "TRUNCATED");
    }
    let claimed_in_body = [body(), vec![1], huge.to_vec()].concat();
    assert_eq!(answer(&with_entries(&claimed_in_body, &[valid_entry(1, &claimed_in_body)])), "TRUNCATED");
    let long = custom("signature", &[0; 5000]);
    assert_eq!(answer(&file(&[long, body()])), "SIG_TOO_LARGE");
}

#[test]
fn other_versions_and_algorithms_are_refused() {
    let body = body();
    let set = sized(&set(&body, &[valid_entry(1, &body)]));
    for header in [[2, 1, 1], [1, 2, 1], [1, 1, 2]] {
        let content = [header.to_vec(), vec![1], set.clone()].concat();
        assert_eq!(answer(&file(&[custom("signature", &content), body.clone()])), "SIG_UNSUPPORTED");
    }
    let mut other_algorithm = valid_entry(1, &body);
    other_algorithm[14] = 2;
    assert_eq!(answer(&with_entries(&body, &[other_algorithm])), "SIG_UNSUPPORTED");
}

#[test]
fn the_manifest_is_first_and_alone() {
    let manifest = custom("arcana:plugin", MANIFEST);
    let other = custom("producers", b"");
    let nested = section(4, &file(std::slice::from_ref(&manifest)));
    for sections in [
        vec![],
        vec![other.clone()],
        vec![other.clone(), manifest.clone()],
        vec![manifest.clone(), manifest.clone()],
        vec![manifest.clone(), other, manifest],
        vec![nested],
    ] {
        let body = sections.concat();
        assert_eq!(answer(&with_entries(&body, &[valid_entry(1, &body)])), "MANIFEST_NOT_FIRST_OR_NOT_UNIQUE");
        assert_eq!(sign(&file(&[body]), &[&key(1)]).unwrap_err().code(), "MANIFEST_NOT_FIRST_OR_NOT_UNIQUE");
    }
}

#[test]
fn a_signed_signature_section_is_refused() {
    let body = [body(), signature_section(&[set(&body(), &[valid_entry(1, &body())])])].concat();
    assert_eq!(answer(&with_entries(&body, &[valid_entry(1, &body)])), "SECOND_SIGNATURE_SECTION");
    assert_eq!(sign(&file(&[body]), &[&key(1)]).unwrap_err().code(), "SECOND_SIGNATURE_SECTION");
}

#[test]
fn a_file_is_refused_by_its_length_alone() {
    assert!(envelope::check_size(10, 10).is_ok());
    let error = envelope::check_size(11, 10).unwrap_err();
    assert_eq!((error.code(), error.status()), ("TOO_LARGE", 413));
}
