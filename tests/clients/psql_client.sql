-- psql: meta-commands, variables, \copy, scripts that stop at errors.
\set ON_ERROR_STOP 1
\pset pager off
\echo == definitions
CREATE TYPE size AS ENUM ('s', 'm', 'l');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE customers (
    id serial PRIMARY KEY, name text NOT NULL, size size DEFAULT 'm', credit positive,
    CONSTRAINT name_given CHECK (name <> '')
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer int NOT NULL REFERENCES customers ON DELETE CASCADE,
    amount numeric(10, 2), doubled numeric GENERATED ALWAYS AS (amount * 2) STORED
);
CREATE INDEX orders_customer ON orders (customer) WHERE amount > 0;
CREATE VIEW big_orders AS SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE amount > 100;
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(amount) FROM orders GROUP BY customer;
CREATE FUNCTION total(c int) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT sum(amount) FROM orders WHERE customer = c';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'order of customer %', NEW.customer;
    RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.amount > 1000) EXECUTE FUNCTION touch();
CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON orders USING (true);
COMMENT ON TABLE customers IS 'who buys';

\echo == descriptions
\d
\dt+ :TENANT.*
\d customers
\d+ orders
\d orders_customer
\d+ big_orders
\d totals
\d events
\d+ events_2024
\d customers_id_seq
\dT
\dT+ size
\dD
\df
\df+ total
\sf total
\sv big_orders
\dv
\dm
\ds
\di
\dp
\dd name_given
\dd
\dP
\dn :TENANT

\echo == data
\copy customers (name, size, credit) from stdin
Ann	s	5
Bob	\N	10
\.
INSERT INTO orders (customer, amount) VALUES (1, 50), (1, 150), (2, 2000) RETURNING id, doubled;
\copy orders (customer, amount) to stdout csv header
\copy (select name from customers order by id) to stdout
SELECT id AS customer_id, name AS customer_name FROM customers ORDER BY id LIMIT 1 \gset
\echo :customer_id :'customer_name'
SELECT count(*) FROM orders WHERE customer = :customer_id;
SELECT name FROM customers WHERE name = :'customer_name' \gx
SELECT customer, size, sum(amount) FROM orders JOIN customers c ON c.id = customer GROUP BY 1, 2 ORDER BY 1 \crosstabview
SELECT format('SELECT %L AS generated, count(*) FROM customers', i) FROM generate_series(1, 2) i \gexec
SELECT id, doubled FROM orders \gdesc
\set FETCH_COUNT 2
SELECT id FROM orders ORDER BY id;
\unset FETCH_COUNT
SELECT name FROM customers ORDER BY id \g (format=unaligned tuples_only=on)
\x
TABLE customers;
\x
\pset format csv
TABLE big_orders;
\pset format aligned
REFRESH MATERIALIZED VIEW totals;
TABLE totals ORDER BY customer;

\echo == transactions
\set AUTOCOMMIT off
INSERT INTO customers (name) VALUES ('lost');
ROLLBACK;
SELECT count(*) FROM customers;
COMMIT;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO customers (name) VALUES ('kept');
\set ON_ERROR_STOP 0
INSERT INTO customers (id, name) VALUES (1, 'duplicate');
\errverbose
SELECT nothing FROM customers;
\set ON_ERROR_STOP 1
COMMIT;
SELECT count(*) FROM customers;
\if :{?LAST_ERROR_SQLSTATE}
\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE
\endif
\timing off

\echo == the end
SELECT 1 / (id - 1) FROM customers;
\echo not reached
