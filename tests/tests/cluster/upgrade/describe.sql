-- All properties of the extension's objects in this database, one line each, without OIDs and ordered by name: two
-- databases with the same lines have the same catalogs. Columns are identified by their order, not by attribute number.
WITH extension AS (SELECT * FROM pg_extension WHERE extname = 'helios'),
member AS (
    SELECT d.classid, d.objid, i.type || ' ' || i.identity AS name
      FROM pg_depend d, extension e, pg_identify_object(d.classid, d.objid, 0) AS i
     WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'),
relation AS (
    SELECT c.*, m.name AS called FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid),
part AS (
    SELECT d.classid, d.objid, i.type || ' ' || i.identity AS name
      FROM relation r JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid
           AND d.deptype IN ('a', 'i', 'P'), pg_identify_object(d.classid, d.objid, 0) AS i
     WHERE d.classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_rewrite'::regclass)),
line(text) AS (
    SELECT format('extension: %s %s %s %s', extversion, extnamespace::regnamespace, extrelocatable, extowner::regrole) FROM extension
    UNION ALL
    SELECT format('dumped: %s where %s', c.r::regclass, nullif(c.condition, '')) FROM extension e, unnest(e.extconfig, e.extcondition) AS c(r, condition)
    UNION ALL SELECT 'member: ' || name FROM member
    UNION ALL
    SELECT format('rights from the script: %s %s %s', i.type, i.identity, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(p.initprivs) AS a))
      FROM pg_init_privs p, pg_identify_object(p.classoid, p.objoid, p.objsubid) AS i
     WHERE (p.classoid, p.objoid) IN (SELECT classid, objid FROM member)
    UNION ALL
    SELECT format('comment: %s %s: %s', i.type, i.identity, d.description)
      FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
     WHERE (d.classoid, d.objoid) IN (SELECT classid, objid FROM member UNION SELECT classid, objid FROM part
                                      UNION SELECT 'pg_extension'::regclass, oid FROM extension)
    UNION ALL
    SELECT format('schema: %s %s %s', n.nspname, n.nspowner::regrole, n.nspacl)
      FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
    UNION ALL
    SELECT format('function: %s %s %s', pg_get_functiondef(p.oid), p.proowner::regrole,
                  (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(p.proacl) AS a))
      FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    UNION ALL
    SELECT format('relation: %s %s %s %s %s %s %s %s %s', called, relkind, relpersistence, relowner::regrole, relrowsecurity, relforcerowsecurity,
                  relreplident, reloptions, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(relacl) AS a)) FROM relation
    UNION ALL
    SELECT format('column: %s %s: %s %s null %s %s %s %s %s %s %s %s', r.called,
                  row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
                  NOT a.attnotnull, a.attcollation::regcollation, a.attstorage, a.attidentity, a.attgenerated,
                  a.attoptions, a.attacl, pg_get_expr(d.adbin, d.adrelid))
      FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT format('view: %s %s', called, pg_get_viewdef(oid)) FROM relation WHERE relkind IN ('v', 'm')
    UNION ALL
    SELECT format('sequence: %s %s %s %s %s %s %s %s', r.called, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
                  s.seqcache, s.seqcycle) FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
    UNION ALL SELECT 'part: ' || name FROM part
    UNION ALL
    SELECT format('constraint: %s %s %s %s', r.called, c.conname, pg_get_constraintdef(c.oid), c.convalidated)
      FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
    UNION ALL
    SELECT format('index: %s', pg_get_indexdef(i.indexrelid)) FROM relation r JOIN pg_index i ON i.indrelid = r.oid
    UNION ALL
    SELECT format('trigger: %s %s', pg_get_triggerdef(t.oid), t.tgenabled)
      FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('policy: %s %s %s %s %s %s %s', r.called, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[],
                  pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT format('rule: %s %s', r.called, pg_get_ruledef(w.oid)) FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid
    UNION ALL
    SELECT format('type: %s %s %s %s %s', m.name, t.typtype, t.typowner::regrole, t.typacl,
                  (SELECT format('%s %s %s', format_type(g.rngsubtype, NULL), g.rngcollation::regcollation, g.rngsubdiff) FROM pg_range g WHERE g.rngtypid = t.oid))
      FROM member m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
    UNION ALL
    SELECT format('event trigger: %s %s %s %s %s', t.evtname, t.evtevent, t.evtfoid::regprocedure, t.evtenabled, t.evttags)
      FROM member m JOIN pg_event_trigger t ON m.classid = 'pg_event_trigger'::regclass AND t.oid = m.objid)
SELECT text FROM line ORDER BY text COLLATE "C"
