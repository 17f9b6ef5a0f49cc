//! Shared tables in `public` beside tenants, the way gems and packages for tenants use them: the path is set for each
//! request, unqualified names find the tenant's tables first, and tenants' tables refer to the shared ones.

use helios_tests::{Cluster, PlainServer};
use postgres::Client;

use crate::reference::rows;

/// Like apartment for Rails (`SET search_path`, excluded models in `public`) and Laravel's packages.
const SCRIPT: [&str; 12] = [
    "CREATE TABLE public.companies (id bigserial PRIMARY KEY, subdomain varchar UNIQUE NOT NULL, created_at timestamp(6) NOT NULL DEFAULT now())",
    "CREATE TABLE public.users (id bigserial PRIMARY KEY, email varchar NOT NULL, company_id bigint CONSTRAINT fk_rails_company REFERENCES companies)",
    "CREATE UNIQUE INDEX index_users_on_email ON public.users USING btree (email)",
    "INSERT INTO public.companies (subdomain) VALUES ('acme'), ('umbrella'); INSERT INTO public.users (email, company_id) VALUES ('a@acme', 1), ('u@umbrella', 2)",
    "CREATE SCHEMA shop_acme; SET search_path = shop_acme, public; CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL, total numeric DEFAULT 0); ALTER TABLE orders ADD CONSTRAINT fk_rails_user FOREIGN KEY (user_id) REFERENCES users (id)",
    "CREATE SCHEMA shop_umbrella; SET search_path = shop_umbrella, public; CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, total numeric DEFAULT 0)",
    "SET search_path = shop_acme, public; INSERT INTO orders (user_id, total) VALUES (1, 10), (1, 20) RETURNING id",
    "SET search_path = shop_umbrella, public; INSERT INTO orders (user_id, total) SELECT id, 5 FROM users WHERE email LIKE 'u%' RETURNING id, user_id",
    "SELECT users.email, count(orders.id), sum(total) FROM users LEFT JOIN orders ON orders.user_id = users.id JOIN companies ON companies.id = company_id GROUP BY 1 ORDER BY 1",
    "SELECT 'acme', sum(total) FROM shop_acme.orders UNION ALL SELECT 'umbrella', sum(total) FROM shop_umbrella.orders ORDER BY 1",
    "UPDATE users SET email = 'total ' || (SELECT sum(total) FROM orders WHERE user_id = users.id) WHERE id = 2 RETURNING email",
    "DELETE FROM users WHERE id = 2 RETURNING id; SELECT count(*) FROM orders",
];

fn answers(client: &mut Client) -> Vec<Vec<String>> {
    SCRIPT.iter().map(|sql| rows(client, sql)).collect()
}

#[test]
fn tenants_use_shared_tables_as_on_one_server() {
    let cluster = Cluster::start(2);
    let mut helios = cluster.connect();
    helios.batch_execute("SET helios.distribute_new_schemas = on").unwrap();
    let server = PlainServer::start();
    let mut plain = server.connect();
    assert_eq!(answers(&mut helios), answers(&mut plain));
    let placed = "SELECT count(*) FROM helios_schemas";
    assert_eq!(rows(&mut helios, placed), ["2"]);
    let references = "SELECT relation FROM helios.reference_table ORDER BY 1";
    helios.batch_execute("SET search_path = public").unwrap();
    assert_eq!(rows(&mut helios, references), ["companies", "users"]);
}
