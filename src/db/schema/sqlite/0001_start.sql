-- The data model. Read this first: every fact Berth keeps is a row here; the bytes of blobs are
-- files (see blob/store.h). Times are microseconds since 1970. Digests are stored form: one
-- algorithm byte (1 sha256, 2 sha512, 0 other) and the hash.

CREATE TABLE user (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,               -- bcrypt
    admin         INTEGER NOT NULL DEFAULT 0,
    epoch         INTEGER NOT NULL DEFAULT 0,  -- moves when cached verdicts about the user end
    created_at    INTEGER NOT NULL
) STRICT;

-- Keys that sign tokens. The newest signs; older ones verify until retired.
CREATE TABLE signing_key (
    kid        TEXT PRIMARY KEY,               -- RFC 7638 thumbprint
    pem        TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Refresh tokens (OAuth 2.0): what docker login keeps in place of a password. Their text is stored
-- nowhere. Void once the owner's epoch moved.
CREATE TABLE refresh_token (
    id          INTEGER PRIMARY KEY,
    secret_hash BLOB NOT NULL UNIQUE,          -- SHA-256 of the token
    owner       INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    epoch       INTEGER NOT NULL,              -- the owner's when it was given out
    client_id   TEXT NOT NULL,                 -- what the program called itself
    created_at  INTEGER NOT NULL,
    used_at     INTEGER NOT NULL               -- last use, within an hour: written no more often
) STRICT;
CREATE INDEX refresh_token_owner ON refresh_token (owner, used_at);

CREATE TABLE project (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,           -- first component of its repositories' names
    public     INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,                  -- principal's name, empty: anonymous or first start
    size_bytes INTEGER NOT NULL DEFAULT 0,     -- running total: distinct linked blobs, manifests
    prefix     TEXT NOT NULL GENERATED ALWAYS AS (name || '/') VIRTUAL
) STRICT;
-- The catalog of who may not see everything: public projects in the order of their repositories'
-- names. That is not the order of the projects' own names: "a-b/x" comes before "a/x".
CREATE UNIQUE INDEX project_public ON project (prefix) WHERE public = 1;

CREATE TABLE repository (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- a re-created one gets a new id and no history
    project    INTEGER NOT NULL REFERENCES project (id),
    full_name  TEXT NOT NULL UNIQUE,           -- "project/rest", the catalog's order
    created_at INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL DEFAULT 0      -- running total: linked blobs and manifests
) STRICT;
CREATE INDEX repository_project ON repository (project, full_name);

-- Review: what may have become garbage. A row whose review_from is set is looked at once
-- gc.review_delay has passed since that time, which is the last sign that somebody may want it: a
-- push, a mount, a HEAD, the end of what used it. It is then removed, or, when it is in use,
-- review_from becomes NULL, until whoever ends that use sets it again (docs/gc.md).

CREATE TABLE blob (
    id          INTEGER PRIMARY KEY,
    digest      BLOB NOT NULL UNIQUE,
    size_bytes  INTEGER NOT NULL,
    store_key   TEXT NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL,
    damaged_at  INTEGER,                       -- its file was found missing or rotten: nobody reads
                                               -- it until a push brings the content again; what
                                               -- was left of the file is in quarantine/
    review_from INTEGER                        -- linked nowhere, so no push or mount can count on it
) STRICT;
CREATE INDEX blob_damaged ON blob (id) WHERE damaged_at IS NOT NULL;
CREATE INDEX blob_review ON blob (review_from) WHERE review_from IS NOT NULL;

-- Dead blobs: their rows are gone, their files not yet. Whoever pushes the content again gets a new
-- row and a new file, so nothing that is unlinked here can be wanted by anybody.
CREATE TABLE dead_blob (
    store_key  TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    died_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Only a link makes a blob readable in a repository.
CREATE TABLE repository_blob (
    repository  INTEGER NOT NULL REFERENCES repository (id),
    blob        INTEGER NOT NULL REFERENCES blob (id),
    linked_at   INTEGER NOT NULL,
    review_from INTEGER,                       -- no manifest of the repository uses it
    PRIMARY KEY (repository, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX repository_blob_blob ON repository_blob (blob, repository);
CREATE INDEX repository_blob_review ON repository_blob (review_from) WHERE review_from IS NOT NULL;

-- In how many of a project's repositories a blob is linked: a project's total counts it once.
CREATE TABLE project_blob (
    project      INTEGER NOT NULL REFERENCES project (id),
    blob         INTEGER NOT NULL REFERENCES blob (id),
    repositories INTEGER NOT NULL,
    PRIMARY KEY (project, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX project_blob_blob ON project_blob (blob); -- the end of a blob finds it

-- One body per digest, byte for byte as pushed. Facts below are read out of it once.
CREATE TABLE manifest_body (
    id            INTEGER PRIMARY KEY,
    digest        BLOB NOT NULL UNIQUE,
    media_type    TEXT NOT NULL,
    artifact_type TEXT,                        -- as referrers lists show it
    subject       BLOB,                        -- digest it is about
    annotations   TEXT,                        -- JSON object, of manifests with a subject
    size_bytes    INTEGER NOT NULL,
    bytes         BLOB NOT NULL                -- last column: lists never read past the others
) STRICT;

CREATE TABLE manifest (
    repository  INTEGER NOT NULL REFERENCES repository (id),
    body        INTEGER NOT NULL REFERENCES manifest_body (id),
    pushed_at   INTEGER NOT NULL,
    pushed_by   TEXT NOT NULL,
    review_from INTEGER,                       -- without a tag: of interest to gc.untagged
    PRIMARY KEY (repository, body)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_by_body ON manifest (body, repository);
CREATE INDEX manifest_review ON manifest (review_from) WHERE review_from IS NOT NULL;

-- A body that is linked nowhere. A table of its own, because to change a row of manifest_body is to
-- write the body again.
CREATE TABLE manifest_body_review (
    body        INTEGER PRIMARY KEY REFERENCES manifest_body (id) ON DELETE CASCADE,
    review_from INTEGER NOT NULL
) STRICT;
CREATE INDEX manifest_body_review_from ON manifest_body_review (review_from);

-- What was read out of a manifest and its config, once, when it was first pushed: annotations,
-- image labels, platforms, created, config type. For search and lists.
CREATE TABLE fact (
    body  INTEGER NOT NULL REFERENCES manifest_body (id),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (body, key, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX fact_search ON fact (key, value, body);

-- Which manifests of a repository are about which digest, in the order lists show them.
CREATE TABLE referrer (
    repository    INTEGER NOT NULL REFERENCES repository (id),
    subject       BLOB NOT NULL,
    digest        BLOB NOT NULL,
    body          INTEGER NOT NULL REFERENCES manifest_body (id),
    artifact_type TEXT,
    PRIMARY KEY (repository, subject, digest)
) STRICT, WITHOUT ROWID;
-- With the body in it the index is all that a page reads of the table; it is not chosen without.
CREATE INDEX referrer_by_type ON referrer (repository, subject, artifact_type, digest, body);
CREATE INDEX referrer_body ON referrer (body); -- the end of a body finds it

-- Children of an index that are manifests.
CREATE TABLE manifest_child (
    parent   INTEGER NOT NULL REFERENCES manifest_body (id),
    position INTEGER NOT NULL,
    digest   BLOB NOT NULL,
    PRIMARY KEY (parent, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_child_digest ON manifest_child (digest, parent);

-- Content a manifest names as blobs: config, layers, and an index's children of other types.
CREATE TABLE manifest_blob (
    parent   INTEGER NOT NULL REFERENCES manifest_body (id),
    position INTEGER NOT NULL,
    digest   BLOB NOT NULL,
    PRIMARY KEY (parent, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_blob_digest ON manifest_blob (digest, parent);

-- A tag is a row per lifetime. No foreign key to the manifest: history outlives it.
CREATE TABLE tag (
    id         INTEGER PRIMARY KEY,
    repository INTEGER NOT NULL REFERENCES repository (id),
    name       TEXT NOT NULL,
    digest     BLOB NOT NULL,                  -- the one it was made with
    from_at    INTEGER NOT NULL,
    from_by    TEXT NOT NULL,
    until_at   INTEGER,                        -- NULL: now
    until_by   TEXT
) STRICT;
CREATE UNIQUE INDEX tag_now ON tag (repository, name) WHERE until_at IS NULL;
CREATE INDEX tag_digest_now ON tag (repository, digest) WHERE until_at IS NULL;
CREATE INDEX tag_history ON tag (repository, name, from_at);

CREATE TABLE upload (
    uuid         TEXT PRIMARY KEY,
    repository   TEXT NOT NULL,                -- full name: the row is made by the first content
    principal    TEXT NOT NULL,
    algorithm    INTEGER NOT NULL,             -- digest algorithm that is computed while receiving
    offset_bytes INTEGER NOT NULL,             -- acknowledged: these bytes were synced
    created_at   INTEGER NOT NULL,
    touched_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_touched ON upload (touched_at);

-- How far a slow pass over everything has come, so that it goes on there after a restart.
CREATE TABLE pass (
    name        TEXT PRIMARY KEY,
    started_at  INTEGER NOT NULL,
    position    INTEGER NOT NULL,              -- id of the last row that was looked at
    finished_at INTEGER                        -- NULL: under way
) STRICT, WITHOUT ROWID;
