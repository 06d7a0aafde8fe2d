CREATE TABLE notes (
    id         TEXT      NOT NULL PRIMARY KEY,
    owner      TEXT      NOT NULL,
    text       TEXT      NOT NULL,
    created_at TIMESTAMP NOT NULL,
    UNIQUE (owner, text)
);
