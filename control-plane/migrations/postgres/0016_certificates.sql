-- Certificates of machines, each as its SHA-256 in hexadecimal: without which one a token is worth nothing; with which one
-- somebody asked; to which one a grant is bound.
ALTER TABLE tokens ADD COLUMN certificate TEXT;
ALTER TABLE requests ADD COLUMN certificate TEXT;
ALTER TABLE grants ADD COLUMN bound_certificate TEXT;

-- An issuer without an address has authorities in its place.
ALTER TABLE issuers ALTER COLUMN url DROP NOT NULL;
