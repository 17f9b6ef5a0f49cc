//! What the catalogs of a server say about a schema, in names, so that servers can be compared.

use postgres::{Client, SimpleQueryMessage};

const QUERY: &str = r"
WITH r AS (SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '@schema')
SELECT line FROM (
SELECT format('relation %s %s %s options %s identity %s rls %s %s owner %s acl %s toast %s', relname, relkind, relpersistence, reloptions,
              relreplident, relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner),
              ARRAY(SELECT a::text FROM unnest(relacl) AS a ORDER BY 1),
              (SELECT t.reloptions FROM pg_class t WHERE t.oid = r.reltoastrelid)) AS line FROM r
UNION ALL
SELECT format('column %s %s %s %s %s null %s default %s identity %s generated %s storage %s compression %s statistics %s options %s local %s %s',
              relname, row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), attname, format_type(atttypid, atttypmod), attcollation::regcollation,
              NOT attnotnull, pg_get_expr(d.adbin, d.adrelid), attidentity, attgenerated, attstorage, attcompression, nullif(attstattarget, -1),
              attoptions, attislocal, attinhcount)
  FROM r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND NOT attisdropped AND relkind <> 'S'
UNION ALL SELECT format('constraint %s %s %s %s %s', relname, conname, contype, pg_get_constraintdef(k.oid), convalidated)
  FROM r JOIN pg_constraint k ON k.conrelid = r.oid
UNION ALL SELECT format('index %s %s %s', pg_get_indexdef(i.indexrelid), indisclustered, indisreplident) FROM r JOIN pg_index i ON i.indexrelid = r.oid
UNION ALL SELECT format('sequence %s %s %s %s %s %s %s %s owned by %s', relname, format_type(seqtypid, NULL), seqstart, seqincrement, seqmax, seqmin,
                        seqcache, seqcycle, (SELECT format('%s.%s %s', d.refobjid::regclass, d.refobjsubid, d.deptype) FROM pg_depend d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
  FROM r JOIN pg_sequence s ON s.seqrelid = r.oid
UNION ALL SELECT format('trigger %s %s %s', relname, pg_get_triggerdef(t.oid), tgenabled) FROM r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT tgisinternal
UNION ALL SELECT format('rule %s %s', pg_get_ruledef(w.oid), ev_enabled) FROM r JOIN pg_rewrite w ON w.ev_class = r.oid
UNION ALL SELECT format('policy %s %s %s %s %s %s', relname, polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
  FROM r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL SELECT format('statistics %s', pg_get_statisticsobjdef(s.oid)) FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE nspname = '@schema'
UNION ALL SELECT format('function %s', pg_get_functiondef(p.oid)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE nspname = '@schema'
UNION ALL SELECT format('comment %s %s', i.identity, d.description)
  FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i WHERE i.identity LIKE '%@schema.%'
) AS l ORDER BY line";

/// One line for each relation, column, constraint, index, sequence, trigger, rule, policy, statistics object, function
/// and comment.
pub fn described(client: &mut Client, schema: &str) -> Vec<String> {
    client.batch_execute("SET search_path = ''").unwrap();
    let rows = client.simple_query(&QUERY.replace("@schema", schema)).unwrap();
    client.batch_execute("RESET search_path").unwrap();
    rows.iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect()
}

/// Lines that only one of the two has.
pub fn differences(expected: &[String], found: &[String]) -> String {
    let missing =
        expected.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}\n"));
    let extra =
        found.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}\n"));
    missing.chain(extra).collect()
}
