-- The catalog of who may not see everything: public projects in the order of their repositories'
-- names. That is not the order of the projects' own names: "a-b/x" comes before "a/x".
ALTER TABLE project ADD COLUMN prefix TEXT NOT NULL GENERATED ALWAYS AS (name || '/') VIRTUAL;
CREATE UNIQUE INDEX project_public ON project (prefix) WHERE public = 1;

-- Referrers of one type: with the body in it, the index is all that a page reads of the table. It
-- was not chosen without.
DROP INDEX referrer_by_type;
CREATE INDEX referrer_by_type ON referrer (repository, subject, artifact_type, digest, body);
