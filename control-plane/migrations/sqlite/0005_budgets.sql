-- What a grant may use up, as JSON, and what was used of it; NULL where any amount may be.
ALTER TABLE grants ADD COLUMN budget TEXT;
ALTER TABLE grants ADD COLUMN used_statements INTEGER NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN used_rows_read INTEGER NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN used_rows_written INTEGER NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN used_bytes_out INTEGER NOT NULL DEFAULT 0;
