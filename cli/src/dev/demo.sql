-- A shop whose personal data is made up: the same in each cluster, so that examples and tests can rely on it.
-- Social security numbers begin with 9 and telephone numbers with 555-01: neither was ever given to anybody.

CREATE TABLE customers (
    id          integer NOT NULL,
    name        text NOT NULL,
    email       text NOT NULL,
    phone       text NOT NULL,
    ssn         text NOT NULL,
    card_number text NOT NULL,
    birth_date  date NOT NULL,
    address     text NOT NULL,
    city        text NOT NULL,
    country     text NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE products (
    id          integer NOT NULL,
    sku         text NOT NULL,
    name        text NOT NULL,
    category    text NOT NULL,
    price       numeric(10, 2) NOT NULL,
    stock       integer NOT NULL
);

CREATE TABLE orders (
    id          integer NOT NULL,
    customer_id integer NOT NULL,
    status      text NOT NULL,
    total       numeric(12, 2) NOT NULL,
    ordered_at  timestamptz NOT NULL
);

CREATE TABLE order_items (
    order_id    integer NOT NULL,
    line        integer NOT NULL,
    product_id  integer NOT NULL,
    quantity    integer NOT NULL,
    price       numeric(10, 2) NOT NULL
);

CREATE TABLE payments (
    id          integer NOT NULL,
    order_id    integer NOT NULL,
    method      text NOT NULL,
    amount      numeric(12, 2) NOT NULL,
    paid_at     timestamptz NOT NULL
);

WITH words AS (
    SELECT '{Ada,Ben,Chloe,Dmitri,Elif,Farid,Grace,Hugo,Ines,Jonas,Kaya,Liam,Mina,Noor,Olga,Pablo,Quinn,Rosa,Samir,Tara}'::text[] AS first,
           '{Abbott,Bauer,Castro,Dubois,Eriksen,Fischer,Garcia,Haddad,Ito,Jensen,Kowalski,Larsen,Moreau,Novak,Okafor,Petrov,Quist,Rossi,Silva,Tanaka,Ueda,Varga,Weber}'::text[] AS last,
           '{Oak,Mill,Station,Church,Harbour,Garden,Hill}'::text[] AS street,
           '{Lisbon,Berlin,Lyon,Turin,Gdansk,Aarhus,Ghent,Graz,Cork,Tampere,Utrecht}'::text[] AS city,
           '{PT,DE,FR,IT,PL,DK,BE,AT,IE,FI,NL}'::text[] AS country
), people AS (
    SELECT i, first[1 + i % 20] AS first, last[1 + (i / 20) % 23] AS last,
           street[1 + i % 7] AS street, city[1 + i % 11] AS city, country[1 + i % 11] AS country,
           '4' || lpad((i::bigint * 7368787 % 100000000000000)::text, 14, '0') AS card
    FROM generate_series(1, 20000) AS i, words
)
INSERT INTO customers
SELECT i, first || ' ' || last, lower(first || '.' || last) || i || '@example.' || (ARRAY['com', 'org', 'net'])[1 + i % 3],
       '+1-' || (200 + i % 700) || '-555-01' || lpad((i % 100)::text, 2, '0'),
       (900 + i % 100) || '-' || lpad((1 + i % 99)::text, 2, '0') || '-' || lpad((i * 37 % 10000)::text, 4, '0'),
       card || luhn.digit,
       date '1945-01-01' + i * 7919 % 22000,
       (1 + i % 240) || ' ' || street || ' Street', city, country,
       timestamptz '2023-01-01 00:00:00+00' + i * interval '67 minutes'
FROM people, LATERAL (
    -- The check digit that makes the number pass as a card's.
    SELECT (10 - sum(CASE WHEN p % 2 = 1 THEN (d * 2) / 10 + (d * 2) % 10 ELSE d END) % 10) % 10 AS digit
    FROM generate_series(1, 15) AS p, LATERAL (SELECT substr(card, p, 1)::integer AS d) AS digits
) AS luhn;

INSERT INTO products
SELECT i, 'SKU-' || lpad(i::text, 5, '0'),
       (ARRAY['Plain', 'Sturdy', 'Tiny', 'Grand', 'Quiet', 'Bright'])[1 + i % 6] || ' '
           || (ARRAY['Lamp', 'Chair', 'Kettle', 'Rug', 'Clock', 'Shelf', 'Desk', 'Vase'])[1 + i / 6 % 8] || ' ' || i,
       (ARRAY['lighting', 'furniture', 'kitchen', 'textiles', 'decoration'])[1 + i % 5],
       4.90 + i * 83 % 29500 / 100.0, i * 31 % 400
FROM generate_series(1, 500) AS i;

INSERT INTO order_items
SELECT o, line, product, 1 + (o + line) % 3, 4.90 + product * 83 % 29500 / 100.0
FROM generate_series(1, 60000) AS o, LATERAL generate_series(1, 1 + o * 13 % 4) AS line,
     LATERAL (SELECT 1 + (o * 17 + line * 101) % 500 AS product) AS chosen;

INSERT INTO orders
SELECT o, 1 + (o::bigint * 7919 % 20000)::integer,
       CASE o % 10 WHEN 0 THEN 'cancelled' WHEN 1 THEN 'new' WHEN 2 THEN 'paid' ELSE 'shipped' END,
       items.total, timestamptz '2024-01-01 00:00:00+00' + o * interval '17 minutes'
FROM generate_series(1, 60000) AS o
JOIN (SELECT order_id, sum(quantity * price) AS total FROM order_items GROUP BY order_id) AS items ON items.order_id = o
ORDER BY o;

INSERT INTO payments
SELECT row_number() OVER (ORDER BY id), id, (ARRAY['card', 'card', 'transfer', 'voucher'])[1 + id % 4], total,
       ordered_at + (id % 90) * interval '1 minute'
FROM orders WHERE status IN ('paid', 'shipped');

ALTER TABLE customers ADD PRIMARY KEY (id), ADD UNIQUE (email);
ALTER TABLE products ADD PRIMARY KEY (id), ADD UNIQUE (sku);
ALTER TABLE orders ADD PRIMARY KEY (id), ADD FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE order_items ADD PRIMARY KEY (order_id, line), ADD FOREIGN KEY (order_id) REFERENCES orders,
    ADD FOREIGN KEY (product_id) REFERENCES products;
ALTER TABLE payments ADD PRIMARY KEY (id), ADD FOREIGN KEY (order_id) REFERENCES orders;
CREATE INDEX ON orders (customer_id);

-- New rows get the next number.
ALTER TABLE customers ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 20001);
ALTER TABLE products ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 501);
ALTER TABLE orders ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 60001);
ALTER TABLE payments ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 60001);

GRANT USAGE ON SCHEMA public TO shop_reader, shop_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO shop_writer;
-- What is created later, by a migration under the role `all`, can be read and written likewise.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO shop_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO shop_writer;

ANALYZE;
