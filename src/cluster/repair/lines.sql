relation AS (
    SELECT n.nspname, c.*, format('%I.%I', n.nspname, c.relname) AS name,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END AS word,
           -- What can be made by itself: of partitions, the table that they are parts of.
           format('%s %I', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                WHEN 'f' THEN CASE WHEN c.relispartition THEN 'table' ELSE 'foreign table' END WHEN 'c' THEN 'type' ELSE 'table' END, u.relname) AS unit,
           CASE c.relkind WHEN 'c' THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END AS class,
           CASE c.relkind WHEN 'c' THEN c.reltype ELSE u.oid END AS id
      FROM wanted n JOIN pg_class c ON c.relnamespace = n.oid
           JOIN pg_class u ON u.oid = CASE WHEN c.relispartition AND c.relkind IN ('r', 'p', 'f') THEN pg_partition_root(c.oid)::oid ELSE c.oid END),
-- Objects with an owner or privileges.
owned (schema, label, kind, target, part, owner, acl, alter, class, id) AS (
    SELECT nspname, 'schema', 'n', format('SCHEMA %I', nspname), '', nspowner, nspacl, format('ALTER SCHEMA %I OWNER TO ', nspname),
           'pg_namespace'::regclass, oid
      FROM wanted
    UNION ALL
    SELECT nspname, format('%s %I', word, relname), CASE relkind WHEN 'S' THEN 's' ELSE 'r' END,
           format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, name), '', relowner, relacl,
           CASE WHEN relkind <> 'S' OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid
                                                      AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
                THEN format('ALTER %s %s OWNER TO ', upper(word), name) END, 'pg_class'::regclass, r.oid
      FROM relation r WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT nspname, format('column %I of %I', a.attname, relname), 'c', format('TABLE %s', name), format(' (%I)', a.attname), relowner, a.attacl,
           NULL, 'pg_class'::regclass, r.oid
      FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT n.nspname, format('function %I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)), 'f',
           format('ROUTINE %s', p.oid::regprocedure), '', p.proowner, p.proacl, format('ALTER ROUTINE %s OWNER TO ', p.oid::regprocedure),
           'pg_proc'::regclass, p.oid
      FROM wanted n JOIN pg_proc p ON p.pronamespace = n.oid
    UNION ALL
    SELECT n.nspname, format('type %I', t.typname), 'T', format('TYPE %s', format_type(t.oid, NULL)), '', t.typowner, t.typacl,
           CASE WHEN t.typtype <> 'm' THEN format('ALTER TYPE %s OWNER TO ', format_type(t.oid, NULL)) END, 'pg_type'::regclass, t.oid
      FROM wanted n JOIN pg_type t ON t.typnamespace = n.oid
     WHERE t.typelem = 0 AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
    UNION ALL
    SELECT x.schema, x.label, '', '', '', x.owner, NULL, format('ALTER %s %s OWNER TO ', upper(i.type), i.identity), x.class, x.id
      FROM (SELECT n.nspname, format('operator %s', o.oid::regoperator), o.oprowner, 'pg_operator'::regclass, o.oid
              FROM wanted n JOIN pg_operator o ON o.oprnamespace = n.oid
            UNION ALL
            SELECT n.nspname, format('operator class %I', o.opcname), o.opcowner, 'pg_opclass'::regclass, o.oid
              FROM wanted n JOIN pg_opclass o ON o.opcnamespace = n.oid
            UNION ALL
            SELECT n.nspname, format('operator family %I', o.opfname), o.opfowner, 'pg_opfamily'::regclass, o.oid
              FROM wanted n JOIN pg_opfamily o ON o.opfnamespace = n.oid
            UNION ALL
            SELECT n.nspname, format('collation %I', o.collname), o.collowner, 'pg_collation'::regclass, o.oid
              FROM wanted n JOIN pg_collation o ON o.collnamespace = n.oid
            UNION ALL
            SELECT n.nspname, format('conversion %I', o.conname), o.conowner, 'pg_conversion'::regclass, o.oid
              FROM wanted n JOIN pg_conversion o ON o.connamespace = n.oid
            UNION ALL
            SELECT n.nspname, format('text search configuration %I', o.cfgname), o.cfgowner, 'pg_ts_config'::regclass, o.oid
              FROM wanted n JOIN pg_ts_config o ON o.cfgnamespace = n.oid
            UNION ALL
            SELECT n.nspname, format('text search dictionary %I', o.dictname), o.dictowner, 'pg_ts_dict'::regclass, o.oid
              FROM wanted n JOIN pg_ts_dict o ON o.dictnamespace = n.oid) AS x(schema, label, owner, class, id),
           LATERAL pg_identify_object(x.class, x.id, 0) AS i
    UNION ALL
    SELECT n.nspname, format('statistics %I', s.stxname), '', '', '', s.stxowner, NULL, format('ALTER STATISTICS %I.%I OWNER TO ', n.nspname, s.stxname),
           'pg_statistic_ext'::regclass, s.oid
      FROM wanted n JOIN pg_statistic_ext s ON s.stxnamespace = n.oid),
-- Casts and transforms are in no schema: they go with the type that they are for.
pair (schema, id, label, line) AS (
    SELECT n.nspname, c.oid, format('cast (%s AS %s)', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)),
           format('%s %s %s', CASE WHEN c.castfunc <> 0 THEN c.castfunc::regprocedure END, c.castcontext, c.castmethod)
      FROM pg_cast c LEFT JOIN pg_type s ON s.oid = c.castsource LEFT JOIN pg_type t ON t.oid = c.casttarget
           LEFT JOIN pg_proc p ON p.oid = c.castfunc
           JOIN wanted n ON n.oid = CASE WHEN s.typnamespace IN (SELECT oid FROM wanted) THEN s.typnamespace
                                         WHEN t.typnamespace IN (SELECT oid FROM wanted) THEN t.typnamespace ELSE p.pronamespace END
     WHERE c.oid >= 16384),
transformed (schema, id, label, line) AS (
    SELECT n.nspname, f.oid, format('transform for %s language %I', format_type(f.trftype, NULL), l.lanname),
           format('%s %s', f.trffromsql::regprocedure, f.trftosql::regprocedure)
      FROM pg_transform f JOIN pg_language l ON l.oid = f.trflang JOIN pg_type t ON t.oid = f.trftype
           LEFT JOIN pg_proc p ON p.oid = f.trffromsql LEFT JOIN pg_proc q ON q.oid = f.trftosql
           JOIN wanted n ON n.oid = CASE WHEN t.typnamespace IN (SELECT oid FROM wanted) THEN t.typnamespace
                                         WHEN p.pronamespace IN (SELECT oid FROM wanted) THEN p.pronamespace ELSE q.pronamespace END),
-- All that may have a comment.
object (schema, class, id) AS (
    SELECT nspname, 'pg_namespace'::regclass, oid FROM wanted
    UNION ALL SELECT schema, class, id FROM owned WHERE class <> 'pg_namespace'::regclass AND part = ''
    UNION ALL SELECT nspname, 'pg_class'::regclass, oid FROM relation WHERE relkind IN ('i', 'I', 'c')
    UNION ALL SELECT n.nspname, 'pg_constraint'::regclass, k.oid FROM wanted n JOIN pg_constraint k ON k.connamespace = n.oid
    UNION ALL SELECT nspname, 'pg_trigger'::regclass, t.oid FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid
    UNION ALL SELECT nspname, 'pg_rewrite'::regclass, w.oid FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid
    UNION ALL SELECT nspname, 'pg_policy'::regclass, p.oid FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL SELECT n.nspname, 'pg_ts_parser'::regclass, o.oid FROM wanted n JOIN pg_ts_parser o ON o.prsnamespace = n.oid
    UNION ALL SELECT n.nspname, 'pg_ts_template'::regclass, o.oid FROM wanted n JOIN pg_ts_template o ON o.tmplnamespace = n.oid
    UNION ALL SELECT schema, 'pg_cast'::regclass, id FROM pair
    UNION ALL SELECT schema, 'pg_transform'::regclass, id FROM transformed),
-- Members of operator families: of the family's schema, or of that of the operator or function.
member (schema, label, line, class, id) AS (
    SELECT n.nspname, format('operator family %I', f.opfname), format('%s %s', i.type, i.identity), 'pg_opfamily'::regclass, f.oid
      FROM wanted n JOIN pg_opfamily f ON f.opfnamespace = n.oid
           JOIN pg_amop o ON o.amopfamily = f.oid CROSS JOIN LATERAL pg_identify_object('pg_amop'::regclass, o.oid, 0) AS i
    UNION ALL
    SELECT n.nspname, format('operator family %I', f.opfname), format('%s %s', i.type, i.identity), 'pg_opfamily'::regclass, f.oid
      FROM wanted n JOIN pg_opfamily f ON f.opfnamespace = n.oid
           JOIN pg_amproc o ON o.amprocfamily = f.oid CROSS JOIN LATERAL pg_identify_object('pg_amproc'::regclass, o.oid, 0) AS i),
lines (schema, object, line, aspect, key, role, class, id) AS (
SELECT schema, 'owner of ' || label, quote_ident(pg_get_userbyid(owner)), 'owner', alter, NULL::text, class::oid, id FROM owned WHERE alter IS NOT NULL
UNION ALL
SELECT o.schema, 'privileges of ' || o.label,
       CASE WHEN x.granted THEN x.give ELSE x.take END, 'privileges', CASE WHEN x.granted THEN x.take ELSE x.give END,
       CASE WHEN x.grantor <> o.owner THEN pg_get_userbyid(x.grantor) END, o.class::oid, o.id
  FROM owned o CROSS JOIN LATERAL (
       SELECT y.granted, y.grantor,
              format('GRANT %s%s ON %s TO %s%s', y.privilege_type, o.part, o.target, z.who, CASE WHEN y.is_grantable THEN ' WITH GRANT OPTION' END) AS give,
              format('REVOKE %s%s ON %s FROM %s CASCADE', y.privilege_type, o.part, o.target, z.who) AS take
         FROM ((SELECT true AS granted, * FROM aclexplode(o.acl) EXCEPT SELECT true, * FROM aclexplode(acldefault(o.kind::"char", o.owner)))
               UNION ALL
               (SELECT false, * FROM aclexplode(acldefault(o.kind::"char", o.owner)) EXCEPT SELECT false, * FROM aclexplode(o.acl))) AS y
              CROSS JOIN LATERAL (SELECT CASE y.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(y.grantee)) END) AS z(who)) AS x
 WHERE o.acl IS NOT NULL
UNION ALL
SELECT n.nspname, format('default privileges of %s', pg_get_userbyid(d.defaclrole)),
       format('%s GRANT %s ON %s TO %s%s', x.head, a.privilege_type, x.what, x.who, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END),
       'privileges', format('%s REVOKE %s ON %s FROM %s', x.head, a.privilege_type, x.what, x.who), NULL, 'pg_default_acl'::regclass::oid, d.oid
  FROM wanted n JOIN pg_default_acl d ON d.defaclnamespace = n.oid CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
       CROSS JOIN LATERAL (SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I', pg_get_userbyid(d.defaclrole), n.nspname),
                                  CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END,
                                  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END) AS x(head, what, who)
UNION ALL
SELECT o.schema, format('comment on %s %s', i.type, i.identity), quote_literal(d.description), 'comment',
       format('COMMENT ON %s %s IS ',
              CASE WHEN i.type LIKE '% column' THEN 'COLUMN' WHEN i.type LIKE '% constraint' THEN 'CONSTRAINT' WHEN i.type = 'composite type' THEN 'TYPE'
                   WHEN i.type = 'statistics object' THEN 'STATISTICS' WHEN i.type = 'transform' THEN 'TRANSFORM FOR' ELSE upper(i.type) END,
              CASE i.type WHEN 'domain constraint' THEN (SELECT format('%I ON DOMAIN %s', conname, format_type(contypid, NULL)) FROM pg_constraint WHERE oid = o.id)
                   WHEN 'transform' THEN (SELECT format('%s LANGUAGE %I', format_type(f.trftype, NULL), l.lanname)
                                            FROM pg_transform f JOIN pg_language l ON l.oid = f.trflang WHERE f.oid = o.id)
                   ELSE i.identity END), NULL, o.class::oid, o.id
  FROM object o JOIN pg_description d ON d.classoid = o.class AND d.objoid = o.id
       CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
UNION ALL
SELECT nspname, format('%s %I', word, relname),
       format('%s %s options %s rls %s %s bound %s key %s parents %s', relkind, relpersistence, reloptions, relrowsecurity, relforcerowsecurity,
              pg_get_expr(relpartbound, oid), CASE relkind WHEN 'p' THEN pg_get_partkeydef(oid) END,
              ARRAY(SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = r.oid ORDER BY inhseqno)),
       'definition', unit, NULL, class::oid, id
  FROM relation r WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
UNION ALL
SELECT nspname, format('column %I of %I', a.attname, relname),
       format('%s %s %s %s null %s identity %s generated %s statistics %s storage %s options %s default %s inherited %s %s',
              row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
              a.attcollation::regcollation, a.attcompression, NOT a.attnotnull, a.attidentity, a.attgenerated, a.attstattarget,
              a.attstorage, a.attoptions, pg_get_expr(d.adbin, d.adrelid), a.attislocal, a.attinhcount),
       'definition', unit, NULL, class::oid, id
  FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT nspname, format('view %I', relname), pg_get_viewdef(oid), 'definition', unit, NULL, class::oid, id
  FROM relation WHERE relkind IN ('v', 'm')
UNION ALL
SELECT nspname, format('sequence %I', relname),
       format('%s %s %s %s %s %s %s', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle),
       'definition', unit, NULL, class::oid, id
  FROM relation r JOIN pg_sequence s ON s.seqrelid = r.oid
UNION ALL
SELECT nspname, format('index %I', relname), format('%s %s', pg_get_indexdef(oid), i.indisclustered),
       'definition', format('index %I', relname), NULL, class::oid, id
  FROM relation r JOIN pg_index i ON i.indexrelid = r.oid
UNION ALL
SELECT n.nspname, format('constraint %I of %s', k.conname, t.name), replace(pg_get_constraintdef(k.oid), ' NOT VALID', ''), 'definition',
       -- A check is a part of its table, as pg_dump sees it, and of its domain.
       CASE WHEN k.conrelid = 0 THEN (SELECT format('type %I', y.typname) FROM pg_type y WHERE y.oid = k.contypid)
            WHEN k.contype = 'c' THEN (SELECT r.unit FROM relation r WHERE r.oid = k.conrelid)
            ELSE format('constraint %I of %s', k.conname, t.name) END,
       NULL,
       CASE WHEN k.conrelid = 0 THEN 'pg_type'::regclass WHEN k.contype = 'c' THEN 'pg_class'::regclass ELSE 'pg_constraint'::regclass END::oid,
       CASE WHEN k.conrelid = 0 THEN k.contypid WHEN k.contype = 'c' THEN (SELECT r.id FROM relation r WHERE r.oid = k.conrelid) ELSE k.oid END
  FROM wanted n JOIN pg_constraint k ON k.connamespace = n.oid
       CROSS JOIN LATERAL (SELECT CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE format_type(k.contypid, NULL) END) AS t(name)
 WHERE k.contype NOT IN ('n', 't')
UNION ALL
SELECT nspname, format('trigger %I of %I', t.tgname, relname), format('%s %s', pg_get_triggerdef(t.oid), t.tgenabled), 'definition',
       format('trigger %I of %I', t.tgname, relname), NULL, 'pg_trigger'::regclass::oid, t.oid
  FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal AND NOT starts_with(t.tgname, 'helios_')
UNION ALL
SELECT nspname, format('rule %I of %I', w.rulename, relname), format('%s %s', pg_get_ruledef(w.oid), w.ev_enabled), 'definition',
       format('rule %I of %I', w.rulename, relname), NULL, 'pg_rewrite'::regclass::oid, w.oid
  FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT nspname, format('policy %I of %I', p.polname, relname),
       format('%s %s %s using %s check %s', p.polcmd, p.polpermissive,
              ARRAY(SELECT coalesce(r.rolname, 'public') FROM unnest(p.polroles) AS o LEFT JOIN pg_roles r ON r.oid = o ORDER BY 1),
              pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), 'definition',
       format('policy %I of %I', p.polname, relname), NULL, 'pg_policy'::regclass::oid, p.oid
  FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT n.nspname, format('statistics %I', s.stxname), pg_get_statisticsobjdef(s.oid), 'definition', format('statistics %I', s.stxname), NULL,
       'pg_statistic_ext'::regclass::oid, s.oid
  FROM wanted n JOIN pg_statistic_ext s ON s.stxnamespace = n.oid
UNION ALL
SELECT n.nspname, l.label,
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid)
            ELSE (SELECT format('%s %s %s %s %s %s', a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
                                format_type(a.aggtranstype, NULL), a.agginitval) FROM pg_aggregate a WHERE a.aggfnoid = p.oid) END,
       'definition', l.label, NULL, 'pg_proc'::regclass::oid, p.oid
  FROM wanted n JOIN pg_proc p ON p.pronamespace = n.oid
       CROSS JOIN LATERAL (SELECT format('function %I(%s)', p.proname, pg_get_function_identity_arguments(p.oid))) AS l(label)
UNION ALL
SELECT n.nspname, format('type %I', t.typname),
       format('%s base %s null %s default %s labels %s range %s %s', t.typtype,
              CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END, NOT t.typnotnull, t.typdefault,
              ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder),
              format_type(r.rngsubtype, NULL), r.rngcollation::regcollation),
       'definition', format('type %I', t.typname), NULL, 'pg_type'::regclass::oid, t.oid
  FROM wanted n JOIN pg_type t ON t.typnamespace = n.oid LEFT JOIN pg_range r ON r.rngtypid = t.oid
 WHERE t.typelem = 0 AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
UNION ALL
SELECT n.nspname, format('operator %s', o.oid::regoperator),
       format('%s commutator %s negator %s restrict %s join %s hashes %s merges %s', o.oprcode, o.oprcom::regoperator, o.oprnegate::regoperator,
              o.oprrest, o.oprjoin, o.oprcanhash, o.oprcanmerge), 'definition',
       format('operator %s', o.oid::regoperator), NULL, 'pg_operator'::regclass::oid, o.oid
  FROM wanted n JOIN pg_operator o ON o.oprnamespace = n.oid
UNION ALL
SELECT n.nspname, format('operator class %I', o.opcname),
       format('%s for %s default %s key %s', i.identity, format_type(o.opcintype, NULL), o.opcdefault, format_type(o.opckeytype, NULL)), 'definition',
       format('operator class %I', o.opcname), NULL, 'pg_opclass'::regclass::oid, o.oid
  FROM wanted n JOIN pg_opclass o ON o.opcnamespace = n.oid CROSS JOIN LATERAL pg_identify_object('pg_opclass'::regclass, o.oid, 0) AS i
UNION ALL
SELECT n.nspname, format('operator family %I', f.opfname), a.amname, 'definition', format('operator family %I', f.opfname), NULL,
       'pg_opfamily'::regclass::oid, f.oid
  FROM wanted n JOIN pg_opfamily f ON f.opfnamespace = n.oid JOIN pg_am a ON a.oid = f.opfmethod
UNION ALL
SELECT schema, label, line, 'definition', label, NULL, class::oid, id FROM member
UNION ALL
SELECT schema, label, line, 'definition', label, NULL, 'pg_cast'::regclass::oid, id FROM pair
UNION ALL
SELECT schema, label, line, 'definition', label, NULL, 'pg_transform'::regclass::oid, id FROM transformed
UNION ALL
SELECT n.nspname, format('collation %I', o.collname), format('%s %s %s %s %s', o.collprovider, o.collisdeterministic, o.collencoding, o.collcollate, o.collctype),
       'definition', format('collation %I', o.collname), NULL, 'pg_collation'::regclass::oid, o.oid
  FROM wanted n JOIN pg_collation o ON o.collnamespace = n.oid
UNION ALL
SELECT n.nspname, format('conversion %I', o.conname), format('%s %s %s %s', o.conforencoding, o.contoencoding, o.conproc, o.condefault),
       'definition', format('conversion %I', o.conname), NULL, 'pg_conversion'::regclass::oid, o.oid
  FROM wanted n JOIN pg_conversion o ON o.connamespace = n.oid
UNION ALL
SELECT n.nspname, format('text search configuration %I', o.cfgname),
       format('%s %s', (SELECT i.identity FROM pg_identify_object('pg_ts_parser'::regclass, o.cfgparser, 0) AS i),
              ARRAY(SELECT format('%s %s %s', m.maptokentype, m.mapseqno, m.mapdict::regdictionary) FROM pg_ts_config_map m WHERE m.mapcfg = o.oid ORDER BY 1)),
       'definition', format('text search configuration %I', o.cfgname), NULL, 'pg_ts_config'::regclass::oid, o.oid
  FROM wanted n JOIN pg_ts_config o ON o.cfgnamespace = n.oid
UNION ALL
SELECT n.nspname, format('text search dictionary %I', o.dictname),
       format('%s %s', (SELECT i.identity FROM pg_identify_object('pg_ts_template'::regclass, o.dicttemplate, 0) AS i), o.dictinitoption),
       'definition', format('text search dictionary %I', o.dictname), NULL, 'pg_ts_dict'::regclass::oid, o.oid
  FROM wanted n JOIN pg_ts_dict o ON o.dictnamespace = n.oid
UNION ALL
SELECT n.nspname, format('text search parser %I', o.prsname),
       format('%s %s %s %s %s', o.prsstart, o.prstoken, o.prsend, o.prsheadline, o.prslextype), 'definition',
       format('text search parser %I', o.prsname), NULL, 'pg_ts_parser'::regclass::oid, o.oid
  FROM wanted n JOIN pg_ts_parser o ON o.prsnamespace = n.oid
UNION ALL
SELECT n.nspname, format('text search template %I', o.tmplname), format('%s %s', o.tmplinit, o.tmpllexize), 'definition',
       format('text search template %I', o.tmplname), NULL, 'pg_ts_template'::regclass::oid, o.oid
  FROM wanted n JOIN pg_ts_template o ON o.tmplnamespace = n.oid)
