-- Typical statements of an application. Each runs on the tenant's node, and one on the nodes of two tenants.

\echo '-- A join with an aggregate:'
SELECT name, orders, spent FROM best_customers ORDER BY spent DESC, id LIMIT 3;

\echo '-- A window function over a view:'
SELECT month, revenue, revenue - lag(revenue) OVER (ORDER BY month) AS change
FROM revenue ORDER BY month LIMIT 4;

\echo '-- jsonb and an enum:'
SELECT state, count(*) FROM orders JOIN users ON users.id = user_id
WHERE profile @> '{"plan": "gold"}' GROUP BY state ORDER BY state;

\echo '-- One partition of a partitioned table:'
SELECT kind, count(*) FROM events
WHERE at >= '2025-03-01' AND at < '2025-04-01' GROUP BY kind ORDER BY count(*) DESC, kind;

\echo '-- A transaction that calls a function and is rolled back:'
BEGIN;
SELECT place_order(1, '[{"product": "lamp", "quantity": 2, "price": 19.90}]') > 0 AS placed;
SELECT total, state FROM orders ORDER BY id DESC LIMIT 1;
ROLLBACK;

\echo '-- A query over two tenants, which may be on different nodes:'
SELECT tenant, count(*) AS orders, sum(total) AS revenue
FROM (SELECT 'elm' AS tenant, total FROM elm.orders UNION ALL SELECT 'acorn', total FROM acorn.orders) AS both_shops
GROUP BY tenant ORDER BY tenant;

\echo '-- The plan, with the node that runs it:'
EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 42;
