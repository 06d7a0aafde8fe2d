-- Addresses from which an account was signed in to or refreshed: failures by others do not lock its owner out there.
CREATE TABLE known_addresses (
    user_id         TEXT      NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- HMAC-SHA-256 of the address under the id of the account: an address looks different for each account.
    address_hash    BLOB      NOT NULL CHECK (typeof(address_hash) = 'blob' AND length(address_hash) = 32),
    -- To the day.
    last_success_at TIMESTAMP NOT NULL CHECK (typeof(last_success_at) = 'integer'),
    PRIMARY KEY (user_id, address_hash)
) WITHOUT ROWID;
