-- A row stays when its plugin is removed: its highest sequence number keeps older releases out.
CREATE TABLE plugins (
    id           TEXT PRIMARY KEY,
    -- The highest sequence number ever installed.
    highest_seq  INTEGER NOT NULL,
    -- The digest of the version that is active, or was last.
    digest       TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'removed')),
    installed_at TIMESTAMP NOT NULL,
    updated_at   TIMESTAMP NOT NULL
) WITHOUT ROWID;

-- Every version that was installed; the kept ones can be rolled back to.
CREATE TABLE plugin_versions (
    id           TEXT NOT NULL REFERENCES plugins (id) DEFERRABLE INITIALLY DEFERRED,
    digest       TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    version      TEXT NOT NULL,
    installed_at TIMESTAMP NOT NULL,
    PRIMARY KEY (id, digest),
    -- The same sequence number with other content is refused.
    UNIQUE (id, seq)
) WITHOUT ROWID;

-- One row: the serial of the newest trust file that was accepted, which may not go back.
CREATE TABLE trust_state (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    serial INTEGER NOT NULL
);
