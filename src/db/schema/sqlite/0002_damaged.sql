-- A blob whose file was found missing or rotten. Nobody reads it until a push brings the content
-- again; what was left of the file is in quarantine/.
ALTER TABLE blob ADD COLUMN damaged_at INTEGER; -- NULL: whole, as far as anybody knows
CREATE INDEX blob_damaged ON blob (id) WHERE damaged_at IS NOT NULL;

-- How far a slow pass over everything has come, so that it goes on there after a restart.
CREATE TABLE pass (
    name        TEXT PRIMARY KEY,
    started_at  INTEGER NOT NULL,
    position    INTEGER NOT NULL,              -- id of the last row that was looked at
    finished_at INTEGER                        -- NULL: under way
) STRICT, WITHOUT ROWID;
