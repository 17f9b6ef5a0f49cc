-- Statements that define a relation as the catalogs of this server describe it: $1 is its OID. Stages: 1 sequences and the
-- relation itself, 2 what must precede its rows, 3 what follows them. Read with a
-- search_path without users' schemas, so that their names are qualified.
WITH relation AS (
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name, pg_get_userbyid(c.relowner) AS owner,
           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS word
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1),
-- Sequences of its identity and serial columns, or the relation itself.
sequence AS (
    SELECT s.seqrelid, format('%I.%I', n.nspname, c.relname) AS name, d.refobjsubid AS number, d.deptype,
           CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END AS persistence, format_type(s.seqtypid, NULL) AS type,
           format('INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s', s.seqincrement, s.seqmin, s.seqmax,
                  s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS options
      FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.objsubid = 0
                                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.deptype IN ('a', 'i')
     WHERE d.objid IS NOT NULL OR s.seqrelid = $1),
attribute AS (
    SELECT a.*, quote_ident(a.attname) AS name, t.typstorage, t.typcollation, pg_get_expr(d.adbin, d.adrelid) AS expression
      FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid JOIN pg_type t ON t.oid = a.atttypid
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attnum > 0 AND NOT a.attisdropped),
-- The elements of CREATE TABLE.
element (kind, number, text) AS (
    SELECT 1, a.attnum::bigint, concat_ws(' ', a.name, format_type(a.atttypid, a.atttypmod),
               CASE a.attcompression WHEN 'p' THEN 'COMPRESSION pglz' WHEN 'l' THEN 'COMPRESSION lz4' END,
               CASE WHEN a.attcollation <> a.typcollation
                    THEN (SELECT format('COLLATE %I.%I', n.nspname, l.collname)
                            FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = a.attcollation) END,
               CASE WHEN a.attgenerated <> ''
                    THEN format('GENERATED ALWAYS AS (%s)%s', a.expression, CASE WHEN a.attgenerated = 's' THEN ' STORED' END)
                    WHEN a.attidentity <> ''
                    THEN (SELECT format('GENERATED %s AS IDENTITY (SEQUENCE NAME %s %s)',
                                        CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, s.name, s.options)
                            FROM sequence s WHERE s.number = a.attnum AND s.deptype = 'i')
                    WHEN a.expression IS NOT NULL THEN 'DEFAULT ' || a.expression END,
               CASE WHEN a.attnotnull AND NOT EXISTS (
                         SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND a.attnum = ANY (k.conkey))
                    THEN 'NOT NULL' END)
      FROM attribute a WHERE a.attislocal
    UNION ALL
    SELECT 2, k.oid::bigint, format('CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid))
      FROM pg_constraint k WHERE k.conrelid = $1 AND k.contype IN ('c', 'n') AND k.conislocal AND k.convalidated),
named_constraint AS (
    SELECT k.*, format('ALTER TABLE ONLY %s ADD CONSTRAINT %I %s', r.name, k.conname, pg_get_constraintdef(k.oid)) AS text
      FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid WHERE k.conislocal AND k.conparentid = 0),
index AS (
    SELECT i.*, format('%I.%I', n.nspname, c.relname) AS name, c.relname, c.reltablespace,
           EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid) AS of_constraint
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE i.indrelid = $1),
trigger AS (
    SELECT t.* FROM pg_trigger t WHERE t.tgrelid = $1 AND NOT t.tgisinternal),
rule AS (
    SELECT w.* FROM pg_rewrite w WHERE w.ev_class = $1 AND w.rulename <> '_RETURN'),
statement (stage, step, number, text) AS (
    SELECT 1, 1, s.seqrelid::bigint, format('CREATE %sSEQUENCE %s AS %s %s', s.persistence, s.name, s.type, s.options)
      FROM sequence s WHERE s.deptype IS DISTINCT FROM 'i'
    UNION ALL
    SELECT 1, 2, 0, format('CREATE %sTABLE %s (%s)%s%s%s%s%s',
               CASE WHEN r.relpersistence = 'u' THEN 'UNLOGGED ' END, r.name,
               (SELECT string_agg(e.text, ', ' ORDER BY e.kind, e.number) FROM element e),
               (SELECT format(' INHERITS (%s)', string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY h.inhseqno))
                  FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE h.inhrelid = r.oid HAVING count(*) > 0),
               CASE WHEN r.relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(r.oid) END,
               (SELECT format(' USING %I', m.amname) FROM pg_am m
                 WHERE m.oid = r.relam AND r.relkind = 'r' AND m.amname <> current_setting('default_table_access_method')),
               (SELECT format(' WITH (%s)', string_agg(o.prefix || split_part(o.text, '=', 1) || '='
                                                       || quote_literal(substr(o.text, strpos(o.text, '=') + 1)), ', '))
                  FROM (SELECT '', unnest(r.reloptions) UNION ALL
                        SELECT 'toast.', unnest(t.reloptions) FROM pg_class t WHERE t.oid = r.reltoastrelid) AS o(prefix, text)
                HAVING count(*) > 0),
               (SELECT format(' TABLESPACE %I', t.spcname) FROM pg_tablespace t WHERE t.oid = r.reltablespace))
      FROM relation r WHERE r.relkind IN ('r', 'p')
    UNION ALL
    SELECT 1, 2, 0, format('CREATE VIEW %s (%s)%s AS %s', r.name,
               (SELECT string_agg(a.name, ', ' ORDER BY a.attnum) FROM attribute a),
               ' WITH (' || array_to_string(r.reloptions, ', ') || ')', rtrim(pg_get_viewdef(r.oid), ';'))
      FROM relation r WHERE r.relkind = 'v'
    UNION ALL
    SELECT 2, 1, s.seqrelid::bigint, format('ALTER SEQUENCE %s OWNED BY %s.%s', s.name, r.name, a.name)
      FROM relation r, sequence s JOIN attribute a ON a.attnum = s.number WHERE s.deptype = 'a'
    UNION ALL
    SELECT 2, 2, a.attnum, format('ALTER TABLE ONLY %s ALTER COLUMN %s SET STORAGE %s', r.name, a.name,
               CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'm' THEN 'MAIN' WHEN 'e' THEN 'EXTERNAL' ELSE 'EXTENDED' END)
      FROM relation r, attribute a WHERE r.relkind IN ('r', 'p') AND a.attstorage <> a.typstorage
    UNION ALL
    SELECT 2, 3, a.attnum, format('ALTER TABLE ONLY %s ALTER COLUMN %s SET STATISTICS %s', r.name, a.name, a.attstattarget)
      FROM relation r, attribute a WHERE r.relkind IN ('r', 'p') AND a.attstattarget >= 0
    UNION ALL
    SELECT 2, 4, a.attnum, format('ALTER TABLE ONLY %s ALTER COLUMN %s SET (%s)', r.name, a.name, array_to_string(a.attoptions, ', '))
      FROM relation r, attribute a WHERE r.relkind IN ('r', 'p') AND a.attoptions IS NOT NULL
    UNION ALL
    SELECT 2, 5, a.attnum, format('ALTER TABLE ONLY %s ALTER COLUMN %s SET DEFAULT %s', r.name, a.name, a.expression)
      FROM relation r, attribute a
     WHERE a.expression IS NOT NULL AND a.attgenerated = '' AND (r.relkind = 'v' OR NOT a.attislocal)
    UNION ALL
    SELECT 3, 1, k.oid::bigint, k.text FROM named_constraint k WHERE k.contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT 3, 2, i.indexrelid::bigint, pg_get_indexdef(i.indexrelid) FROM index i WHERE NOT i.of_constraint AND i.indisvalid
    UNION ALL
    SELECT 3, 3, i.indexrelid::bigint, format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', i.name, a.attnum, a.attstattarget)
      FROM index i JOIN pg_attribute a ON a.attrelid = i.indexrelid WHERE a.attstattarget >= 0
    UNION ALL
    SELECT 3, 4, i.indexrelid::bigint, format('ALTER INDEX %s SET TABLESPACE %I', i.name, t.spcname)
      FROM index i JOIN pg_tablespace t ON t.oid = i.reltablespace
    UNION ALL
    SELECT 3, 5, i.indexrelid::bigint, format('ALTER TABLE %s CLUSTER ON %I', r.name, i.relname)
      FROM relation r, index i WHERE i.indisclustered
    UNION ALL
    SELECT 3, 6, 0, format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', r.name,
               CASE r.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
                    ELSE (SELECT format('USING INDEX %I', i.relname) FROM index i WHERE i.indisreplident) END)
      FROM relation r WHERE r.relkind IN ('r', 'p') AND r.relreplident <> 'd'
    UNION ALL
    SELECT 3, 7, k.oid::bigint, k.text FROM named_constraint k
     WHERE k.contype = 'f' OR k.contype IN ('c', 'n') AND NOT k.convalidated
    UNION ALL
    SELECT 3, 8, s.oid::bigint, pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s WHERE s.stxrelid = $1
    UNION ALL
    SELECT 3, 9, s.oid::bigint, format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, s.stxname, s.stxstattarget)
      FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = $1 AND s.stxstattarget >= 0
    UNION ALL
    SELECT 3, 10, w.oid::bigint, rtrim(pg_get_ruledef(w.oid), ';') FROM rule w
    UNION ALL
    SELECT 3, 11, w.oid::bigint, format('ALTER TABLE %s %s RULE %I', r.name,
               CASE w.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, w.rulename)
      FROM relation r, rule w WHERE w.ev_enabled <> 'O'
    UNION ALL
    SELECT 3, 12, t.oid::bigint, pg_get_triggerdef(t.oid) FROM trigger t
    UNION ALL
    SELECT 3, 13, t.oid::bigint, format('ALTER TABLE ONLY %s %s TRIGGER %I', r.name,
               CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname)
      FROM relation r, trigger t WHERE t.tgenabled <> 'O'
    UNION ALL
    SELECT 3, 14, p.oid::bigint, concat(format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, r.name,
               CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
               CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
               (SELECT string_agg(CASE o WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o)) END, ', ') FROM unnest(p.polroles) AS o)),
               ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
      FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT 3, 15, 0, format('ALTER TABLE ONLY %s ENABLE ROW LEVEL SECURITY', r.name) FROM relation r WHERE r.relrowsecurity
    UNION ALL
    SELECT 3, 16, 0, format('ALTER TABLE ONLY %s FORCE ROW LEVEL SECURITY', r.name) FROM relation r WHERE r.relforcerowsecurity
    UNION ALL
    SELECT 3, 17, d.objsubid, format('COMMENT ON %s IS %L',
               CASE d.objsubid WHEN 0 THEN r.word || ' ' || r.name
                    ELSE format('COLUMN %s.%s', r.name, (SELECT a.name FROM attribute a WHERE a.attnum = d.objsubid)) END, d.description)
      FROM relation r JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid
    UNION ALL
    SELECT 3, 18, o.id::bigint, format('COMMENT ON %s IS %L', o.what, d.description)
      FROM (SELECT 'pg_constraint'::regclass, k.oid, format('CONSTRAINT %I ON %s', k.conname, r.name)
              FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
            UNION ALL SELECT 'pg_class'::regclass, i.indexrelid, 'INDEX ' || i.name FROM index i
            UNION ALL SELECT 'pg_class'::regclass, s.seqrelid, 'SEQUENCE ' || s.name FROM sequence s WHERE s.seqrelid <> $1
            UNION ALL SELECT 'pg_trigger'::regclass, t.oid, format('TRIGGER %I ON %s', t.tgname, r.name) FROM relation r, trigger t
            UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, format('RULE %I ON %s', w.rulename, r.name) FROM relation r, rule w
            UNION ALL SELECT 'pg_policy'::regclass, p.oid, format('POLICY %I ON %s', p.polname, r.name)
                        FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
            UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid, format('STATISTICS %I.%I', n.nspname, s.stxname)
                        FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = $1) AS o(class, id, what)
           JOIN pg_description d ON d.classoid = o.class AND d.objoid = o.id AND d.objsubid = 0)
SELECT stage, text FROM statement ORDER BY stage, step, number
