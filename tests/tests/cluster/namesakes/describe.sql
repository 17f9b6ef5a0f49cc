CREATE FUNCTION place.describe(wanted text[], with_rows bool) RETURNS SETOF text LANGUAGE plpgsql
    SET search_path = pg_catalog AS $describe$
DECLARE
    places oid[] := ARRAY(SELECT oid FROM pg_namespace WHERE nspname = ANY (wanted));
    name text;
BEGIN
    RETURN QUERY SELECT format('schema %s', oid::regnamespace) FROM pg_namespace WHERE oid = ANY (places);
    RETURN QUERY
    SELECT format('%s.%s leans on %s.%s (%s)', d.objid::regclass, d.objsubid,
                  CASE d.refclassid WHEN 'pg_class'::regclass THEN d.refobjid::regclass::text
                       WHEN 'pg_type'::regclass THEN d.refobjid::regtype::text
                       WHEN 'pg_proc'::regclass THEN d.refobjid::regprocedure::text
                       WHEN 'pg_collation'::regclass THEN d.refobjid::regcollation::text
                       WHEN 'pg_extension'::regclass THEN 'extension' ELSE 'something' END, d.refobjsubid, d.deptype)
      FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
     WHERE d.classid = 'pg_class'::regclass AND c.relnamespace = ANY (places) AND d.refclassid <> 'pg_constraint'::regclass;
    RETURN QUERY
    SELECT format('%s leans on extension', d.objid::regprocedure)
      FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
     WHERE d.classid = 'pg_proc'::regclass AND p.pronamespace = ANY (places) AND d.deptype = 'x';
    RETURN QUERY
    SELECT format('relation %s %s of %s, rows secured %s, identity %s, bound %s, to %s, options %s', c.oid::regclass, c.relkind,
                  c.reloftype::regtype, c.relrowsecurity, c.relreplident, pg_get_expr(c.relpartbound, c.oid),
                  c.relacl, c.reloptions)
      FROM pg_class c WHERE c.relnamespace = ANY (places);
    RETURN QUERY
    SELECT format('column %s.%s %s, collation %s, default %s, %s%s%s, statistics %s, to %s', c.oid::regclass, a.attname,
                  format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid),
                  a.attnotnull, a.attidentity, a.attgenerated, a.attstattarget, a.attacl)
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relnamespace = ANY (places);
    RETURN QUERY
    SELECT format('child %s of %s', i.inhrelid::regclass, i.inhparent::regclass)
      FROM pg_inherits i JOIN pg_class c ON c.oid IN (i.inhrelid, i.inhparent) WHERE c.relnamespace = ANY (places);
    RETURN QUERY
    SELECT format('constraint %s on %s%s: %s', k.conname, nullif(k.conrelid, 0)::regclass, nullif(k.contypid, 0)::regtype,
                  pg_get_constraintdef(k.oid))
      FROM pg_constraint k WHERE k.connamespace = ANY (places);
    RETURN QUERY
    SELECT format('index %s, clustered %s, identity %s', pg_get_indexdef(i.indexrelid), i.indisclustered, i.indisreplident)
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = ANY (places);
    RETURN QUERY
    SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled)
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = ANY (places) AND NOT t.tgisinternal;
    RETURN QUERY
    SELECT pg_get_ruledef(r.oid) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relnamespace = ANY (places);
    RETURN QUERY
    SELECT format('policy %s on %s: %s, %s', p.polname, p.polrelid::regclass, pg_get_expr(p.polqual, p.polrelid),
                  pg_get_expr(p.polwithcheck, p.polrelid))
      FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = ANY (places);
    RETURN QUERY
    SELECT format('%s to %s', pg_get_functiondef(p.oid), p.proacl)
      FROM pg_proc p WHERE p.pronamespace = ANY (places) AND p.prokind <> 'a' AND p.proname <> 'describe';
    RETURN QUERY
    SELECT format('aggregate %s: %s, %s, %s', a.aggfnoid, a.aggtransfn, a.aggtranstype::regtype, a.agginitval)
      FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid WHERE p.pronamespace = ANY (places);
    RETURN QUERY
    SELECT format('type %s: %s of %s, default %s, not null %s, to %s, labels %s', t.oid::regtype, t.typtype,
                  t.typbasetype::regtype, t.typdefault, t.typnotnull, t.typacl,
                  (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
      FROM pg_type t WHERE t.typnamespace = ANY (places);
    RETURN QUERY
    SELECT format('operator %s: %s, commutator %s, negator %s', o.oid::regoperator, o.oprcode, o.oprcom::regoperator,
                  o.oprnegate::regoperator)
      FROM pg_operator o WHERE o.oprnamespace = ANY (places);
    RETURN QUERY
    SELECT format('collation %s: %s %s', c.oid::regcollation, c.collcollate, c.collprovider)
      FROM pg_collation c WHERE c.collnamespace = ANY (places);
    RETURN QUERY
    SELECT format('configuration %s: %s %s', c.oid::regconfig, m.maptokentype, m.mapdict::regdictionary)
      FROM pg_ts_config c JOIN pg_ts_config_map m ON m.mapcfg = c.oid WHERE c.cfgnamespace = ANY (places);
    RETURN QUERY
    SELECT pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s WHERE s.stxnamespace = ANY (places);
    RETURN QUERY
    SELECT format('sequence %s: %s, %s', s.seqrelid::regclass, s.seqstart, s.seqincrement)
      FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid WHERE c.relnamespace = ANY (places);
    RETURN QUERY
    SELECT format('%s %s is %L', i.type, i.identity, d.description)
      FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
     WHERE d.objoid >= 16384 AND i.identity ~ ('(^|[ (,])(' || array_to_string(wanted, '|') || ')\.');
    RETURN QUERY
    SELECT format('default rights in %s: %s %s', a.defaclnamespace::regnamespace, a.defaclobjtype, a.defaclacl) FROM pg_default_acl a WHERE a.defaclnamespace = ANY (places);
    IF with_rows THEN
        FOR name IN SELECT format('%s.%I', relnamespace::regnamespace, relname) FROM pg_class
                     WHERE relnamespace = ANY (places) AND relkind IN ('r', 'm') AND relispopulated LOOP
            RETURN QUERY EXECUTE format('SELECT format(''rows of %s: %%s'', array_agg(x::text ORDER BY x::text)) FROM ONLY %s x', name, name);
        END LOOP;
    END IF;
END $describe$;
