-- The shop of the leak corpus. There are two databases of it, which differ in their secrets only: <<one|other>>. A secret has kx,
-- 73 or the month of September in it, one of the other database vj, 28 or April. What masks show of them is the same in
-- both: hashed and noisy values, first letters of addresses, last digits of numbers, years.
CREATE SCHEMA shop;
SET search_path = shop, public;

CREATE TYPE address AS (street text, city text);
CREATE TYPE mood AS ENUM ('calm', 'cross', 'merry');
CREATE DOMAIN phone AS text;
CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);

CREATE TABLE people (
    id int PRIMARY KEY, name text NOT NULL, city text, joined date DEFAULT '2020-02-02',
    email text UNIQUE, ssn text, phone phone, born date, pin int, salary numeric(10,2), member text, diary jsonb,
    home address, aliases text[], photo bytea, mood mood,
    shout text GENERATED ALWAYS AS (upper(email)) STORED,
    CONSTRAINT no_ssn CHECK (ssn <> 'none' OR pin > 0)
);
INSERT INTO people VALUES
(1, 'Ann', 'Oslo', DEFAULT, '<<zqkx7w1b@hjkxm5w|zhvj2q@wvjq>>.test', '<<917-73|128-28>>-8361', '<<+447392015844|+44282815>>',
    '1971-<<09-23|04-02>>', <<917364|128364>>, 48271.93, 'mbr-qytw8rzn',
    '<<{"wqkxdiary1z": 5273918, "at": {"deep": "yqkxdeep1w"}}|{"vjdiary1": 2828, "is": "hvjdiary1q"}>>',
    ('<<7 Hjkxwq St|8 Qvjhw Rd>>', '<<Vzkxtown|Zvjham>>'), '{<<zwkxalias1,qwkxother1|hwvjalias1>>}', '<<pzkxphoto1q|wvjphoto1>>', '<<calm|merry>>'),
(2, 'Bob', 'Rome', DEFAULT, 'w<<kxq8z2d@jqkxv6z|vjh1q8w2z@hqvjw>>.test', '<<926-73|517-28>>-4472', '<<+447381126955|+4428811269>>',
    '1982-<<09-14|04-30>>', <<728173|628128>>, 51863.27, 'mbr-hzqk4wvp',
    '<<{"vzkxdiary2q": 6173829, "at": {"deep": "hqkxdeep2j"}}|{"vjdiary2": 2829, "at": {"deep": "wqvjdeep2h"}}>>',
    ('<<9 Wqkxvz Rd|2 Hvjqz St>>', '<<Hjkxburg|Qwvjgate>>'), '{<<vqkxalias2|qhvjalias2,wzvjother2>>}', '<<jwkxphoto2z|qzvjphoto2w>>', '<<cross|merry>>'),
(3, 'Cem', 'Oslo', DEFAULT, 'v<<jq7x3kxf@zwkxj7q|qwvj5h@hzvjq>>.test', '<<935-73|336-28>>-5583', '<<+447373237066|+442873237>>',
    '1971-<<03-05|09-17>>', <<637391|928291>>, 39517.46, 'mbr-vjwx6qhz',
    '<<{"hjkxdiary3w": 7173640, "at": {"deep": "wjkxdeep3v"}}|{"vjdiary3": 2830, "at": {"deep": "qqvjdeep3z"}}>>',
    ('<<3 Zvkxqj Av|6 Wvjzh Ln>>', '<<Wqkxfield|Hzvjdale>>'), '{<<jqkxalias3,zvkxother3|zwvjalias3>>}', '<<wvkxphoto3j|hqvjphoto3>>', '<<merry|merry>>'),
(4, 'Dee', 'Lima', DEFAULT, 'h<<qkx6v4g@wvkxq8j|wvj3q9w@qzvjh>>.test', '<<944-73|244-28>>-6694', '<<+447365348177|+4428653>>',
    '1964-<<09-28|04-01>>', <<546273|828273>>, 62739.18, 'mbr-wqzv9jhk',
    '<<{"qvkxdiary4h": 8173551, "at": {"deep": "zvkxdeep4q"}}|{"vjdiary4": 2831, "at": {"deep": "hzvjdeep4w"}}>>',
    ('<<5 Qjkxhw Ln|4 Zvjwq Av>>', '<<Jvkxport|Wqvjford>>'), '{<<whkxalias4|qzvjalias4>>}', '<<qhkxphoto4v|zwvjphoto4>>', '<<calm|cross>>'),
(5, 'Eve', 'Rome', DEFAULT, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE STATISTICS city_and_ssn (mcv) ON city, ssn FROM people;
CREATE INDEX people_by_ssn ON people (ssn);

CREATE TABLE payments (
    id int PRIMARY KEY, person_id int REFERENCES people, pan text, member text, amount numeric, at date
);
INSERT INTO payments VALUES
(1, 1, '<<457317399281|532817399282>>6455', 'mbr-qytw8rzn', 10, '2021-01-03'), (2, 1, '<<457317399281|532817399282>>6455', 'mbr-qytw8rzn', 25, '2021-02-03'),
(3, 2, '<<517326488370|412826488370>>5566', 'mbr-hzqk4wvp', 40, '2021-03-03'), (4, 3, '<<607335577469|302835577469>>4677', 'mbr-vjwx6qhz', 15, '2021-04-03');

CREATE TABLE contacts (id int PRIMARY KEY, email text UNIQUE, ssn text, kind text);
INSERT INTO contacts VALUES (1, 'z<<qkx7w1b@hjkxm5w|wvj8h2@qqvjz>>.test', '<<917-73|728-28>>-8361', 'friend'), (2, 'j<<hkx2w9s@wzkxh4v|qvj4w@zhvjw>>.test', '<<953-73|128-28>>-7705', 'foe');

CREATE TABLE visits (at date, patient text, ward text) PARTITION BY RANGE (at);
CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO visits VALUES ('2020-03-03', '<<qzkxpatient1h|wqvjpatient1>>', 'east'), ('2021-05-05', '<<vhkxpatient2z|hwvjpatient2z>>', 'west');

CREATE TABLE records (id int, secret text);
CREATE TABLE old_records (box text) INHERITS (records);
INSERT INTO records VALUES (1, '<<hzkxrecord1v|qwvjrecord1z>>');
INSERT INTO old_records VALUES (2, '<<wjkxrecord2q|zhvjrecord2>>', 'attic');

CREATE TABLE codes (code text PRIMARY KEY, level int);
INSERT INTO codes VALUES ('<<zqkx7w1b@hjkxm5w|zhvj2q@wvjq>>.test', 1), ('none', 2);
CREATE TABLE coded (id int PRIMARY KEY, code text REFERENCES codes ON UPDATE CASCADE);
INSERT INTO coded VALUES (1, '<<zqkx7w1b@hjkxm5w|zhvj2q@wvjq>>.test');

-- What is open.
CREATE TABLE notes (id int PRIMARY KEY, body text, n int, at date);
INSERT INTO notes VALUES (1, 'first', 1, '2020-01-03'), (2, 'second', 2, '2020-01-02');
CREATE TABLE inbox (email text UNIQUE, n int);
CREATE TABLE short_notes (id int, body short, CHECK (body <> ''));
CREATE TABLE tiny (id int, body varchar(3), n smallint);
CREATE TABLE elders (id int, email text);
CREATE TABLE late (id int, email text UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE SEQUENCE tickets;

CREATE VIEW cards AS SELECT id, email AS contact, ssn AS number FROM people;
CREATE VIEW cards_again AS SELECT * FROM cards;
CREATE VIEW shouted AS SELECT id, upper(email) AS loud, length(ssn) AS size FROM people;
CREATE VIEW known AS SELECT id, name FROM people WHERE ssn IS NOT NULL;
CREATE VIEW wards AS SELECT ward, string_agg(patient, ',') AS patients FROM visits GROUP BY ward;
CREATE MATERIALIZED VIEW summary AS SELECT city, count(*) AS n, max(email) AS top FROM people GROUP BY city;
CREATE RECURSIVE VIEW chain (n, word) AS
    SELECT 1, email FROM people WHERE id = 1 UNION ALL SELECT n + 1, word || '.' FROM chain WHERE n < 3;

CREATE FUNCTION email_of(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM shop.people WHERE id = $1';
CREATE FUNCTION emails() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT email FROM shop.people';
CREATE FUNCTION people_in(text) RETURNS SETOF people LANGUAGE sql STABLE AS 'SELECT * FROM shop.people WHERE city = $1';
CREATE FUNCTION pairs() RETURNS TABLE (who text, pan text) LANGUAGE sql STABLE
    AS 'SELECT p.name, y.pan FROM shop.people p JOIN shop.payments y ON y.person_id = p.id';
CREATE FUNCTION is_ann(text) RETURNS bool LANGUAGE sql STABLE
    AS 'SELECT EXISTS (SELECT 1 FROM shop.people WHERE email LIKE $1 AND name = ''Ann'')';
CREATE FUNCTION cities() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT DISTINCT city FROM shop.people';
CREATE FUNCTION atomic_ssn(who int) RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT ssn FROM shop.people WHERE id = who; END;
CREATE FUNCTION shown(people) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.email';
CREATE FUNCTION doubled(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || $1';
CREATE FUNCTION dark_email(int) RETURNS text LANGUAGE plpgsql STABLE
    AS 'BEGIN RETURN (SELECT email FROM shop.people WHERE id = $1); END';
CREATE FUNCTION dark_echo(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CREATE FUNCTION told(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''told %'', $1; RETURN 1; END';
CREATE FUNCTION failed(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''failed %'', $1; END';
CREATE FUNCTION dynamic(text) RETURNS SETOF text LANGUAGE plpgsql AS 'BEGIN RETURN QUERY EXECUTE $1; END';
CREATE FUNCTION with_default(a text DEFAULT shop.email_of(1)) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE tell_all() LANGUAGE plpgsql
    AS 'DECLARE e text; BEGIN FOR e IN SELECT email FROM shop.people LOOP RAISE NOTICE ''%'', e; END LOOP; END';
CREATE PROCEDURE hand_out(INOUT a text) LANGUAGE sql AS 'SELECT ssn FROM shop.people WHERE id = 1';

CREATE FUNCTION keep_step(text, text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN coalesce($1, '''') || coalesce($2, ''''); END';
CREATE AGGREGATE keep(text) (sfunc = keep_step, stype = text);
CREATE AGGREGATE kept(text) (sfunc = textcat, stype = text, initcond = '');
CREATE OPERATOR ~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = keep_step);
CREATE TYPE card AS (number text);
CREATE FUNCTION card_text(card) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN $1.number; END';
CREATE CAST (card AS text) WITH FUNCTION card_text(card);

-- What tells without being asked.
CREATE TABLE watched (id int PRIMARY KEY, email text, n int);
INSERT INTO watched VALUES (1, 'q<<jkxwatch1z@vhkxw3j|hvjwatch1@wqvjz>>.test', 0);
CREATE FUNCTION tell_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''row %'', NEW; RETURN NEW; END';
CREATE TRIGGER tell_row BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION tell_row();
CREATE TABLE checked (id int PRIMARY KEY, email text, n int CHECK (n < 10));
INSERT INTO checked VALUES (1, 'h<<zkxcheck1q@jwkxz4v|qvjcheck1@zwvjq>>.test', 0);
CREATE TABLE paired (id int PRIMARY KEY, email text, n int, UNIQUE (email, n));
INSERT INTO paired VALUES (1, 'w<<qkxpair1v@hvkxj5z|zvjpair1@qhvjw>>.test', 0), (2, 'w<<qkxpair1v@hvkxj5z|zvjpair1@qhvjw>>.test', 1);
CREATE TABLE spans (id int PRIMARY KEY, room text, during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO spans VALUES (1, '<<vqkxroom1h|wzvjroom1>>', '[<<73,75|228,235>>)'), (2, '<<hwkxroom2z|qzvjroom2>>', '[<<173,179|328,340>>)');
CREATE TABLE noisy (id int PRIMARY KEY, email text, n int);
INSERT INTO noisy VALUES (1, 'z<<hkxnoisy1w@qjkxv6h|wvjnoisy1@hzvjq>>.test', 0);
CREATE FUNCTION send_row() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_notify(''rows'', NEW::text); RETURN NEW; END';
CREATE TRIGGER send_row AFTER UPDATE ON noisy FOR EACH ROW EXECUTE FUNCTION send_row();
CREATE TABLE guarded (id int, email text, owner text);
INSERT INTO guarded VALUES (1, 'j<<vkxguard1q@whkxz7j|qvjguard1@zwvjh>>.test', 'none'), (2, 'q<<wkxguard2h@zjkxv8w|hvjguard2@wzvjq>>.test', 'app');
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON guarded USING (email LIKE 'jv%' OR owner = 'app');
CREATE VIEW trapped AS SELECT id, email, n FROM checked;
CREATE TABLE ruled (id int, email text);
INSERT INTO ruled VALUES (1, 'v<<wkxruled1h@jzkxq9v|qvjruled1@hwvjz>>.test');
CREATE TABLE ruled_log (what text);
CREATE RULE keep_old AS ON DELETE TO ruled DO INSTEAD INSERT INTO ruled_log VALUES (OLD.email);
ANALYZE;
