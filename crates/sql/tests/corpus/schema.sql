-- A small shop with one of everything that a statement can start by surprise.
CREATE ROLE reader;
CREATE ROLE other;
CREATE SCHEMA shop;
CREATE SCHEMA hidden;
CREATE SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
SET search_path = shop, public;

CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE address AS (street text, city text);
CREATE FUNCTION is_short(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN length($1) < 100; END';
CREATE DOMAIN short AS text CHECK (is_short(VALUE));
CREATE DOMAIN positive AS int CHECK (VALUE > 0);

CREATE TABLE customers (
    id serial PRIMARY KEY, name text NOT NULL, email text UNIQUE, ssn text, born date, home address,
    tags text[], extra jsonb, created timestamptz DEFAULT now()
);
CREATE TABLE products (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text, price numeric, label short, stock positive);
CREATE TABLE orders (
    id bigserial PRIMARY KEY, customer_id int REFERENCES customers ON DELETE CASCADE, status text DEFAULT 'new',
    total numeric, placed timestamptz DEFAULT now(), feeling mood
);
CREATE TABLE items (
    order_id bigint REFERENCES orders ON DELETE CASCADE, product_id int REFERENCES products, quantity int,
    price numeric, sum numeric GENERATED ALWAYS AS (quantity * price) STORED, PRIMARY KEY (order_id, product_id)
);
CREATE TABLE log (at timestamptz DEFAULT clock_timestamp(), what text);
CREATE SEQUENCE tickets;
CREATE TABLE queue (id int DEFAULT nextval('tickets'), job text);
CREATE TABLE hidden.secrets (id int, word text);
CREATE TABLE people (email ext.citext, note text);

CREATE TABLE events (at date, kind text, note text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE animals (name text);
CREATE TABLE cats (lives int) INHERITS (animals);

CREATE VIEW names AS SELECT id, name FROM customers;
CREATE VIEW big_orders AS SELECT o.id, n.name, o.total FROM orders o JOIN names n ON n.id = o.customer_id WHERE o.total > 100;
CREATE VIEW ticking AS SELECT nextval('tickets') AS ticket;
CREATE MATERIALIZED VIEW totals AS SELECT customer_id, sum(total) AS total FROM orders GROUP BY customer_id;

CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION email_of(customer int) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM customers WHERE id = customer';
CREATE FUNCTION plain_with_default(a int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION shortened(text) RETURNS short LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION wipe() RETURNS void LANGUAGE sql AS 'DELETE FROM shop.log';
CREATE FUNCTION wipe_deep() RETURNS void LANGUAGE sql AS 'SELECT shop.wipe()';
CREATE FUNCTION forever(int) RETURNS int LANGUAGE sql AS 'SELECT shop.forever($1)';
CREATE FUNCTION pathless() RETURNS bigint LANGUAGE sql SET search_path = hidden AS 'SELECT count(*) FROM secrets';
CREATE FUNCTION dark() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION dark_default(a int DEFAULT shop.dark()) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION atomic(who int) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT name FROM shop.customers WHERE id = who; END;
CREATE FUNCTION fullname(customers) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN $1.name; END';
CREATE FUNCTION rows_of() RETURNS TABLE (a int, b text) LANGUAGE plpgsql AS 'BEGIN RETURN; END';
CREATE PROCEDURE tidy(days int) LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE AGGREGATE dark_sum(int) (sfunc = int4pl, stype = int);
CREATE FUNCTION dark_step(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE AGGREGATE darker_sum(int) (sfunc = dark_step, stype = int);
CREATE FUNCTION address_eq(address, address) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE OPERATOR === (LEFTARG = address, RIGHTARG = address, FUNCTION = address_eq);
CREATE FUNCTION dark_add(mood, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE OPERATOR + (LEFTARG = mood, RIGHTARG = int, FUNCTION = dark_add);
CREATE FUNCTION mood_int(mood) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE CAST (mood AS int) WITH FUNCTION mood_int(mood);

CREATE TYPE parcel AS (size int);
CREATE TABLE parcels (id int, what parcel);
CREATE FUNCTION parcel_json(parcel) RETURNS json LANGUAGE plpgsql AS 'BEGIN RETURN ''1''; END';
CREATE CAST (parcel AS json) WITH FUNCTION parcel_json(parcel);

-- Casts that nobody asks for, and domains inside of what is read from literals.
CREATE TYPE grade AS ENUM ('one', 'two');
CREATE FUNCTION grade_int(grade) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE CAST (grade AS int) WITH FUNCTION grade_int(grade) AS IMPLICIT;
CREATE FUNCTION grade_bool(grade) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE CAST (grade AS bool) WITH FUNCTION grade_bool(grade) AS ASSIGNMENT;
CREATE TYPE box_size AS (size int);
CREATE FUNCTION parcel_box(parcel) RETURNS box_size LANGUAGE plpgsql AS 'BEGIN RETURN ROW(1); END';
CREATE CAST (parcel AS box_size) WITH FUNCTION parcel_box(parcel) AS IMPLICIT;
CREATE TYPE shorts AS RANGE (subtype = short);
CREATE TABLE marks (id int, mark grade, labels short[], span shorts);
CREATE FUNCTION mark_of(int) RETURNS int LANGUAGE sql AS 'SELECT mark FROM shop.marks WHERE id = $1';
CREATE FUNCTION crafted() RETURNS void LANGUAGE sql SET standard_conforming_strings = off
    AS $$SELECT '\''; DELETE FROM shop.log; --'$$;

CREATE FUNCTION on_order() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO shop.log (what) VALUES (''x''); RETURN NEW; END';
CREATE TRIGGER note_order AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION on_order();
CREATE RULE keep AS ON DELETE TO log DO INSTEAD UPDATE queue SET job = 'kept' WHERE id = 0;
CREATE TABLE guarded (id int, owner text, note text);
CREATE FUNCTION may(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON guarded USING (may(owner));
CREATE TABLE indexed (id int, word text, CHECK (is_short(word)));
CREATE INDEX ON indexed (lower(word));

-- What lineage has to look through: views of many kinds, generated columns, partitions, rows in rows.
CREATE VIEW contacts (id, who, mail) AS SELECT id, name, email FROM customers WHERE ssn IS NOT NULL;
CREATE VIEW contacts_again AS SELECT c.id, upper(c.who) AS shouted, c.mail FROM contacts c;
CREATE VIEW everyone AS SELECT email AS mail FROM customers UNION ALL SELECT note FROM people;
CREATE VIEW ranked AS SELECT id, rank() OVER (ORDER BY born) AS age_rank, CASE WHEN ssn = '1' THEN name END AS found FROM customers;
CREATE VIEW of_function AS SELECT id, email_of(id) AS mail FROM customers;
CREATE VIEW as_json AS SELECT id, to_jsonb(c) AS doc FROM customers c;
CREATE MATERIALIZED VIEW mails AS SELECT id, email, length(ssn) AS len FROM customers;
CREATE VIEW of_mails AS SELECT id, email FROM mails;
CREATE TABLE accounts (
    id int PRIMARY KEY, holder text, phone varchar(20), balance numeric(12, 2), opened date, active bool,
    holder_lower text GENERATED ALWAYS AS (lower(holder)) STORED,
    initials text GENERATED ALWAYS AS (left(holder, 1) || coalesce(phone, '')) STORED
);
CREATE VIEW account_names AS SELECT id, holder_lower FROM accounts;
CREATE TYPE contact AS (who text, mail text);
CREATE TABLE cards (id int, owner contact, numbers text[]);
CREATE DOMAIN mail AS text;
CREATE TABLE boxes (id int, box mail);
CREATE FUNCTION mails_of() RETURNS TABLE (id int, mail text) LANGUAGE sql STABLE AS 'SELECT id, email FROM shop.customers WHERE ssn = ''1''';
CREATE FUNCTION customer_rows() RETURNS SETOF shop.customers LANGUAGE sql STABLE AS 'SELECT * FROM shop.customers';
CREATE FUNCTION everything() RETURNS SETOF record LANGUAGE sql STABLE AS 'SELECT email, ssn FROM shop.customers';
CREATE FUNCTION inverse(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT 1 / $1';

-- Names of the server's own, taken again in a schema that comes later in the path.
CREATE FUNCTION public.lower(customers) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE TABLE public.pg_class (mine int);

INSERT INTO customers (name, email, ssn) VALUES ('Ann', 'ann@example.org', '1');
