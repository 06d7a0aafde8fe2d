use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::*;

fn tokens() -> Tokens {
    tokens_with(settings(), vec![TokenKey::hs256(Zeroizing::new([3; 32]))])
}

fn revoke(tokens: &Tokens, kind: RevocationKind, value: &str, now_ms: i64) {
    tokens.revocations().begin(kind, value, now_ms).apply();
}

#[test]
fn a_revoked_session_is_refused_at_once_and_others_are_not() {
    let tokens = tokens();
    let (one, two) = (issue(&tokens, "alice", "s1", NOW), issue(&tokens, "alice", "s2", NOW));
    assert!(tokens.verify_at(&one, NOW).is_ok());
    revoke(&tokens, RevocationKind::Session, "s1", NOW);
    assert_eq!(tokens.verify_at(&one, NOW), Err(TokenError::Revoked));
    assert_eq!(tokens.verify_at(&one, NOW), Err(TokenError::Revoked));
    assert!(tokens.verify_at(&two, NOW).is_ok());
}

#[test]
fn before_and_after_a_revocation_are_told_apart_within_a_millisecond() {
    let tokens = tokens();
    let before = issue(&tokens, "alice", "s1", NOW);
    let bob = issue(&tokens, "bob", "s3", NOW);
    revoke(&tokens, RevocationKind::Subject, "alice", NOW);
    let after = issue(&tokens, "alice", "s2", NOW);
    assert_eq!(tokens.verify_at(&before, NOW), Err(TokenError::Revoked));
    assert!(tokens.verify_at(&after, NOW).is_ok());
    assert!(tokens.verify_at(&bob, NOW).is_ok());
    // And once more, with a clock that stepped back.
    revoke(&tokens, RevocationKind::Subject, "alice", NOW - 500);
    let again = issue(&tokens, "alice", "s2", NOW - 500);
    assert_eq!(tokens.verify_at(&after, NOW), Err(TokenError::Revoked));
    assert!(tokens.verify_at(&again, NOW).is_ok());
}

#[test]
fn tokens_issued_while_a_revocation_is_under_way_count_as_before_it() {
    let tokens = tokens();
    let pending = tokens.revocations().begin(RevocationKind::Subject, "alice", NOW);
    let within = issue(&tokens, "alice", "s1", NOW + 50);
    assert!(tokens.verify_at(&within, NOW + 50).is_ok(), "nothing is committed yet");
    let stored = pending.revocation().clone();
    pending.apply();
    assert_eq!(tokens.verify_at(&within, NOW + 50), Err(TokenError::Revoked));
    assert!(tokens.verify_at(&issue(&tokens, "alice", "s1", NOW + 50), NOW + 50).is_ok());
    // The same holds for what the store gives back after a crash.
    let restarted = self::tokens();
    restarted.revocations().load([stored]);
    assert_eq!(restarted.verify_at(&within, NOW + 50), Err(TokenError::Revoked));

    let pending = tokens.revocations().begin(RevocationKind::Subject, "bob", NOW);
    let within = issue(&tokens, "bob", "s1", NOW + 50);
    drop(pending);
    assert!(tokens.verify_at(&within, NOW + 50).is_ok(), "the transaction was rolled back");
}

#[test]
fn entries_go_when_no_token_is_left_that_they_could_refuse() {
    let tokens = tokens();
    let table = tokens.revocations();
    let token = issue(&tokens, "alice", "s1", NOW);
    revoke(&tokens, RevocationKind::Subject, "alice", NOW);
    revoke(&tokens, RevocationKind::Session, "s1", NOW);
    table.purge(NOW + 901_999);
    assert_eq!(tokens.verify_at(&token, NOW + 901_999), Err(TokenError::Revoked));
    assert_eq!(table.snapshot().len(), 2);
    table.purge(NOW + 1_000_000);
    assert!(table.is_empty());
    assert_eq!(tokens.verify_at(&token, NOW + 1_000_000), Err(TokenError::Expired));
}

#[test]
fn the_table_purges_itself_as_it_grows() {
    let tokens = tokens();
    for n in 0..10_000_i64 {
        revoke(&tokens, RevocationKind::Session, &format!("s{n}"), NOW + n * 1000);
    }
    assert!(tokens.revocations().len() < 4 * 1024, "{}", tokens.revocations().len());
    assert_eq!(tokens.revocations().snapshot().len(), tokens.revocations().len());
}

/// Whatever a token's place among the revocations of other threads: what was issued before one began is refused after it,
/// and what is issued after the last one is accepted.
#[test]
fn the_order_holds_between_threads() {
    let tokens = tokens();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                issue(&tokens, "alice", "s1", NOW);
                drop(tokens.revocations().begin(RevocationKind::Subject, "alice", NOW));
            }
        });
        for _ in 0..2000 {
            let before = issue(&tokens, "alice", "s1", NOW);
            revoke(&tokens, RevocationKind::Subject, "alice", NOW);
            assert_eq!(tokens.verify_at(&before, NOW), Err(TokenError::Revoked));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(tokens.verify_at(&issue(&tokens, "alice", "s1", NOW), NOW).is_ok());
}
