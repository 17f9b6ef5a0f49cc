\echo Use "ALTER EXTENSION helios UPDATE" to load this file. \quit

-- Whatever this script leaves must equal what sql/install/helios--0.2.0.sql makes: a test compares both catalogs.
