-- Jobs, each as its issuer's name and the subject of its token: of which one a token was exchanged for; which one asked; to
-- which one a grant is bound.
ALTER TABLE tokens ADD COLUMN job TEXT;
ALTER TABLE requests ADD COLUMN job TEXT;
ALTER TABLE grants ADD COLUMN bound_job TEXT;
