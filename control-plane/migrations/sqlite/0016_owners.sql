-- The owner who has made a token for their agent: it is good while they are, and for no more than they may ask for themselves.
ALTER TABLE tokens ADD COLUMN made_by_id TEXT REFERENCES principals (id);

-- How it was proved for whom an agent asks.
ALTER TABLE requests ADD COLUMN behalf_proof TEXT;
