//! Vectors that nobody here wrote, and key files.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod common;

use arcana_signing::{PublicKey, SecretKey};
use ed25519_dalek::Signer as _;

/// Wycheproof signs any message; the policy only ever sees 42 bytes, so the same strict check is asked directly.
fn accepts(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (<[u8; 32]>::try_from(key), <[u8; 64]>::try_from(signature)) else {
        return false;
    };
    let Ok(key) = PublicKey::from_bytes(&key) else { return false };
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key.to_bytes()).unwrap();
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature)).is_ok()
}

#[test]
fn wycheproof() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut seen = 0;
    for group in set.test_groups {
        for test in group.tests {
            let expected = !test.result.must_fail();
            assert_eq!(accepts(&group.key.pk, &test.msg, &test.sig), expected, "test {}: {}", test.tc_id, test.comment);
            seen += 1;
        }
    }
    assert_eq!(seen, set.number_of_tests);
}

#[test]
fn rfc_8032() {
    // Section 7.1, tests 1, 2, 3 and SHA(abc): secret, public, message, signature.
    for [secret, public, message, signature] in [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
        [
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ],
    ] {
        let [secret, public, message, signature] =
            [secret, public, message, signature].map(|text| hex::decode(text).unwrap());
        let seed: [u8; 32] = secret.try_into().unwrap();
        assert_eq!(SecretKey::from_seed(&seed).public_key().to_bytes().to_vec(), public);
        assert_eq!(ed25519_dalek::SigningKey::from_bytes(&seed).sign(&message).to_bytes().to_vec(), signature);
        assert!(accepts(&public, &message, &signature));
    }
}

#[test]
fn keys_survive_their_text_and_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("signing.key");
    let key = SecretKey::generate().unwrap();
    key.write_new(&path).unwrap();
    let loaded = SecretKey::load(&path).unwrap();
    assert_eq!(loaded.public_key(), key.public_key());
    assert_eq!(key.public_key().to_string().parse::<PublicKey>().unwrap(), key.public_key());
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));

    let before = std::fs::read(&path).unwrap();
    assert_eq!(SecretKey::generate().unwrap().write_new(&path).unwrap_err().code(), "KEY_FILE");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = SecretKey::load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
    assert!(!format!("{key:?}").contains(&key.public_key().to_string()[8..]));
}

#[test]
fn key_ids_are_those_of_the_convention() {
    // HMAC-SHA-256 with the key of RFC 8032 test 1 over `key_id`, as `openssl dgst -mac HMAC` answers it.
    let key: PublicKey = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a".parse().unwrap();
    assert_eq!(key.key_id().to_string(), "58fb94a6933f01b8b7707a8b");
    assert_eq!(key.to_wasmsign2()[0], 1);
    assert_eq!(key.to_wasmsign2()[1..], key.to_bytes());
}
