-- Review: what may have become garbage. A row whose review_from is set is looked at once
-- gc.review_delay has passed since that time, which is the last sign that somebody may want it: a
-- push, a mount, a HEAD, the end of what used it. It is then removed, or, when it is in use,
-- review_from becomes NULL, until whoever ends that use sets it again (docs/gc.md).

-- A link that no manifest of its repository uses.
ALTER TABLE repository_blob ADD COLUMN review_from INTEGER;
UPDATE repository_blob SET review_from = linked_at;
CREATE INDEX repository_blob_review ON repository_blob (review_from) WHERE review_from IS NOT NULL;

-- A blob that is linked nowhere. Nobody can see it, so no push or mount can count on it.
ALTER TABLE blob ADD COLUMN review_from INTEGER;
UPDATE blob SET review_from = touched_at
    WHERE NOT EXISTS (SELECT 1 FROM repository_blob l WHERE l.blob = blob.id);
ALTER TABLE blob DROP COLUMN touched_at;
CREATE INDEX blob_review ON blob (review_from) WHERE review_from IS NOT NULL;

-- A manifest without a tag: of interest where gc.untagged says so.
ALTER TABLE manifest ADD COLUMN review_from INTEGER;
UPDATE manifest SET review_from = pushed_at;
CREATE INDEX manifest_review ON manifest (review_from) WHERE review_from IS NOT NULL;

-- A body that is linked nowhere. A table of its own, because to change a row of manifest_body is to
-- write the body again.
CREATE TABLE manifest_body_review (
    body        INTEGER PRIMARY KEY REFERENCES manifest_body (id) ON DELETE CASCADE,
    review_from INTEGER NOT NULL
) STRICT;
INSERT INTO manifest_body_review (body, review_from) SELECT b.id, 0 FROM manifest_body b
    WHERE NOT EXISTS (SELECT 1 FROM manifest m WHERE m.body = b.id);
CREATE INDEX manifest_body_review_from ON manifest_body_review (review_from);

-- Dead blobs: their rows are gone, their files not yet. Whoever pushes the content again gets a new
-- row and a new file, so nothing that is unlinked here can be wanted by anybody.
CREATE TABLE dead_blob (
    store_key  TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    died_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- So that the end of a body or a blob finds the rows that name it.
CREATE INDEX referrer_body ON referrer (body);
CREATE INDEX project_blob_blob ON project_blob (blob);
