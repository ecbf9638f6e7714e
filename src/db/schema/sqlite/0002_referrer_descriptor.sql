-- What a page of referrers shows stands in the rows it walks along, and not in one manifest's row
-- here and another's there. Copies of columns of manifest_body; fsck compares them.
ALTER TABLE referrer ADD COLUMN media_type TEXT NOT NULL DEFAULT '';
ALTER TABLE referrer ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE referrer ADD COLUMN annotations TEXT;
UPDATE referrer SET (media_type, size_bytes, annotations) =
    (SELECT b.media_type, b.size_bytes, b.annotations FROM manifest_body b WHERE b.id = referrer.body);
-- And so does the page of one type.
DROP INDEX referrer_by_type;
CREATE INDEX referrer_by_type ON referrer
    (repository, subject, artifact_type, digest, body, media_type, size_bytes, annotations);
