//! Everything in Helios that needs no PostgreSQL: pure data in, pure data out.
