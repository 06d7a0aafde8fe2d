use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use hmac::Mac as _;
use zeroize::Zeroizing;

use super::super::keys::{HostKeys, KeyError, PluginKeys, TokenAlgorithm, TokenKey, hkdf, hmac};

/// The key of RFC 8037, appendix A.1.
pub(super) fn rfc8037_key() -> SigningKey {
    let d = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    SigningKey::from_bytes(&d.try_into().unwrap())
}

#[test]
fn rfc_8037_appendix_a() {
    let private = rfc8037_key();
    let public = private.verifying_key();
    assert_eq!(URL_SAFE_NO_PAD.encode(public.as_bytes()), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let key = TokenKey::ed25519(public, Some(private));
    // A.3: the thumbprint of RFC 7638.
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    // A.4 and A.5: signing and validation.
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = key.sign(message).unwrap();
    let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(&signature), expected);
    assert!(key.verify(message, &signature));
}

/// RFC 7515, appendix A.1, which is also the example of RFC 7519, section 3.1.
#[test]
fn rfc_7515_hs256() {
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = URL_SAFE_NO_PAD.decode(key).unwrap();
    let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let mac = hmac(&key, &[message.as_bytes()]);
    assert_eq!(URL_SAFE_NO_PAD.encode(mac), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

/// RFC 5869, appendix A.1, whose output begins with our one block.
#[test]
fn rfc_5869_hkdf() {
    let salt = hex::decode("000102030405060708090a0b0c").unwrap();
    let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
    let key = hkdf(&salt, &[0x0b; 22], &info);
    assert_eq!(hex::encode(*key), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

#[test]
fn keys_are_private_files_that_stay_the_same() {
    for (algorithm, file) in [(TokenAlgorithm::EdDsa, "token-1.pem"), (TokenAlgorithm::Hs256, "token-1.key")] {
        let data = tempfile::tempdir().unwrap();
        let open = || HostKeys::open(data.path(), algorithm);
        let first = open().unwrap();
        let again = open().unwrap();
        assert_eq!(first.cache_mac, again.cache_mac);
        assert_ne!(*first.cache_mac, [0; 32]);
        assert_eq!(first.tokens.jwks(), again.tokens.jwks());
        let kid = |keys: HostKeys| keys.tokens.into_all()[0].kid().to_owned();
        assert_eq!(kid(first), kid(again));

        let dir = data.path().join("keys");
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["cache-mac.key", "plugin-keys.key", file]);
        for name in names {
            assert_eq!(mode(&dir.join(name)), 0o600);
        }

        fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(open(), Err(KeyError::NotPrivate { .. })));
        fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(dir.join(file), "junk").unwrap();
        assert!(matches!(open(), Err(KeyError::Malformed { .. })));
    }
}

#[test]
fn the_highest_private_key_signs_and_public_keys_stay_trusted() {
    let data = tempfile::tempdir().unwrap();
    let open = || HostKeys::open(data.path(), TokenAlgorithm::EdDsa);
    let first = open().unwrap().tokens.into_all()[0].kid().to_owned();
    let dir = data.path().join("keys");
    let other = rfc8037_key().verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    fs::rename(dir.join("token-1.pem"), dir.join("token-9.pem")).unwrap();
    fs::write(dir.join("token-10.pem"), other).unwrap();
    let both = open().unwrap().tokens;
    assert!(both.jwks().contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    let both = both.into_all();
    assert_eq!(
        both.iter().map(TokenKey::kid).collect::<Vec<_>>(),
        [first.as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"]
    );
    fs::remove_file(dir.join("token-9.pem")).unwrap();
    assert!(matches!(open(), Err(KeyError::NoSigningKey { .. })));
}

#[test]
fn keys_of_plugins_are_kept_apart() {
    let keys = PluginKeys::new(Zeroizing::new([7; 32]));
    let signature = keys.sign("acme/x", "own", b"message");
    assert!(keys.verify("acme/x", "own", b"message", &signature));
    assert!(PluginKeys::new(Zeroizing::new([7; 32])).verify("acme/x", "own", b"message", &signature));
    for (plugin, name, message) in [
        ("acme/y", "own", "message"),
        ("acme/x", "other", "message"),
        ("acme/x", "own", "messagf"),
        ("acme/xo", "wn", "message"),
    ] {
        assert!(!keys.verify(plugin, name, message.as_bytes(), &signature));
    }
    assert!(!PluginKeys::new(Zeroizing::new([8; 32])).verify("acme/x", "own", b"message", &signature));
    assert!(!keys.verify("acme/x", "own", b"message", &signature[..63]));
    // The signature is not one over the message alone.
    let mac = |plugin, name| keys.mac(plugin, name).unwrap().chain_update(b"message").finalize().into_bytes();
    assert_ne!(mac("acme/x", "own"), mac("acme/x", "other"));
    assert_ne!(mac("acme/x", "own"), mac("acme/y", "own"));
}
