-- Accounts and their sessions. The plugin arcana/users owns this store; arcana/auth uses it.
--
-- TIMESTAMP columns hold microseconds since 1970-01-01T00:00:00Z. They are declared so that the host answers them as
-- timestamps, which STRICT tables do not allow; the checks do what STRICT would.

CREATE TABLE users (
    id            TEXT      NOT NULL PRIMARY KEY CHECK (typeof(id) = 'text' AND length(id) = 36),
    email         TEXT      NOT NULL,
    -- The address in lower case, by the plugin: unique without regard to case, also beyond ASCII.
    email_key     TEXT      NOT NULL,
    username      TEXT,
    username_key  TEXT,
    name          TEXT,
    first_name    TEXT,
    last_name     TEXT,
    -- Every text above in lower case, for searching.
    search_key    TEXT      NOT NULL,
    password_hash TEXT      NOT NULL CHECK (length(password_hash) > 0),
    -- user 0, moderator 1, admin 2, superadmin 3: in the order of what they may do.
    role          INTEGER   NOT NULL CHECK (typeof(role) = 'integer' AND role BETWEEN 0 AND 3),
    status        TEXT      NOT NULL CHECK (status IN ('active', 'inactive', 'locked')),
    created_at    TIMESTAMP NOT NULL CHECK (typeof(created_at) = 'integer'),
    updated_at    TIMESTAMP NOT NULL CHECK (typeof(updated_at) = 'integer'),
    last_login_at TIMESTAMP CHECK (typeof(last_login_at) IN ('integer', 'null')),
    CHECK ((username IS NULL) = (username_key IS NULL))
);

CREATE UNIQUE INDEX users_email_key ON users (email_key);
CREATE UNIQUE INDEX users_username_key ON users (username_key);
-- How accounts are listed when nothing else is asked for, and how the superadmins are counted.
CREATE INDEX users_created_at ON users (created_at, id);
CREATE INDEX users_role_status ON users (role, status);

-- A session is a family of refresh tokens. Deleting it ends it.
CREATE TABLE sessions (
    id         TEXT      NOT NULL PRIMARY KEY CHECK (typeof(id) = 'text' AND length(id) = 36),
    user_id    TEXT      NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TIMESTAMP NOT NULL CHECK (typeof(created_at) = 'integer'),
    -- When its newest refresh token ends.
    expires_at TIMESTAMP NOT NULL CHECK (typeof(expires_at) = 'integer')
) WITHOUT ROWID;

CREATE INDEX sessions_user_id ON sessions (user_id, created_at);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Spent tokens stay until they would have ended, because using one again gives a thief away.
CREATE TABLE refresh_tokens (
    -- SHA-256 of the token; the token itself is nowhere.
    token_hash BLOB      NOT NULL PRIMARY KEY CHECK (typeof(token_hash) = 'blob' AND length(token_hash) = 32),
    session_id TEXT      NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at TIMESTAMP NOT NULL CHECK (typeof(expires_at) = 'integer'),
    spent_at   TIMESTAMP CHECK (typeof(spent_at) IN ('integer', 'null'))
) WITHOUT ROWID;

CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

-- Failed sign-ins by name, whether there is such an account or not.
CREATE TABLE login_attempts (
    -- SHA-256 of the name in lower case.
    name_hash       BLOB      NOT NULL PRIMARY KEY CHECK (typeof(name_hash) = 'blob' AND length(name_hash) = 32),
    failures        INTEGER   NOT NULL CHECK (typeof(failures) = 'integer' AND failures > 0),
    last_failure_at TIMESTAMP NOT NULL CHECK (typeof(last_failure_at) = 'integer')
) WITHOUT ROWID;

CREATE INDEX login_attempts_last_failure_at ON login_attempts (last_failure_at);
