-- Plugins are changed while the host runs, by administrators, by the folder, and by other hosts on this database.

-- The version that ran before the present one, which going back without a name means.
ALTER TABLE plugins ADD COLUMN previous TEXT;
-- Where the present version came from: `api`, or the name of a file of the plugin folder.
ALTER TABLE plugins ADD COLUMN source TEXT NOT NULL DEFAULT '';
-- Who disabled it: an administrator, or the folder, from which its file was taken.
ALTER TABLE plugins ADD COLUMN disabled_by TEXT;

-- verified: nothing is against it. pending: it waits for an approval. failed: it ran and was taken back.
ALTER TABLE plugin_versions ADD COLUMN state TEXT NOT NULL DEFAULT 'verified' CHECK (state IN ('verified', 'pending', 'failed'));
-- Whether its file is still there; the row of one that is not keeps its digest from coming back by the folder.
ALTER TABLE plugin_versions ADD COLUMN kept BOOLEAN NOT NULL DEFAULT TRUE;
-- What is told of it without reading its file: {"signers", "pending", "description"}.
ALTER TABLE plugin_versions ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';
ALTER TABLE plugin_versions ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
-- When it was last the one that runs.
ALTER TABLE plugin_versions ADD COLUMN ran_at TIMESTAMP;
ALTER TABLE plugin_versions ADD COLUMN error_code TEXT;
ALTER TABLE plugin_versions ADD COLUMN error_message TEXT;
ALTER TABLE plugin_versions ADD COLUMN error_at TIMESTAMP;

-- The signed files by their digest, in parts of at most 1 MiB.
CREATE TABLE plugin_files (
    digest TEXT NOT NULL,
    part   INTEGER NOT NULL,
    bytes  BLOB NOT NULL,
    PRIMARY KEY (digest, part)
) WITHOUT ROWID;

-- What administrators have approved beyond what signers may grant.
CREATE TABLE plugin_approvals (
    id         TEXT NOT NULL,
    capability TEXT NOT NULL,
    who        TEXT NOT NULL,
    at         TIMESTAMP NOT NULL,
    PRIMARY KEY (id, capability)
) WITHOUT ROWID;

-- What was done and what was refused, in order.
CREATE TABLE plugin_changes (
    n            INTEGER PRIMARY KEY AUTOINCREMENT,
    at           TIMESTAMP NOT NULL,
    who          TEXT NOT NULL,
    action       TEXT NOT NULL,
    id           TEXT NOT NULL,
    from_version TEXT,
    from_digest  TEXT,
    to_version   TEXT,
    to_digest    TEXT,
    outcome      TEXT NOT NULL,
    message      TEXT NOT NULL
);
CREATE INDEX plugin_changes_by_id ON plugin_changes (id, n);

-- One row: goes up with every change of what is to run, so that other hosts on this database notice.
CREATE TABLE registry_state (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL
);
INSERT INTO registry_state (one, revision) VALUES (1, 0);
