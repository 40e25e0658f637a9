-- Moves all that the account ml_trainer_a owns and was granted to the owner role ml_trainer, under a running application.
-- keyturn setup target moves more: grant options, large objects, settings, tablespaces, attributes such as CREATEDB,
-- foreign server logins, rights revoked from PUBLIC for new routines, and a schema of the account's name.
--
-- Run it as a superuser, in one transaction. Open sessions inherit the role and continue.
-- If it fails with "could not open relation" or a lock timeout, the application changed an object meanwhile: run it again.
--
-- Open sessions still create objects owned by the account. New sessions can use them, but not alter or drop them.
-- Run REASSIGN OWNED once more after the application has reconnected.
-- If the account has objects in several databases, first run all but the last two statements in each of the others:
-- REASSIGN OWNED and grants apply to one database, the account to all.
-- "$user" now means the role. If the account has a schema of its own name, first run
-- ALTER ROLE ml_trainer_a IN DATABASE ... SET search_path to that schema.
BEGIN;
SET LOCAL lock_timeout = '500ms';                              -- gives up rather than block others
GRANT ml_trainer TO ml_trainer_a;
REASSIGN OWNED BY ml_trainer_a TO ml_trainer;
DO $$                                                          -- gives the role everything that the account was granted
DECLARE
  account constant oid := 'ml_trainer_a'::regrole;
  given text;
BEGIN
  FOR given IN
    SELECT format('GRANT %s ON %s %s TO ml_trainer', privilege_type, kind, name) FROM (
      SELECT 'TABLE' AS kind, oid::regclass::text AS name, relacl AS acl FROM pg_class WHERE relkind <> 'S'
      UNION ALL SELECT 'SEQUENCE', oid::regclass::text, relacl FROM pg_class WHERE relkind = 'S'
      UNION ALL SELECT 'SCHEMA', quote_ident(nspname), nspacl FROM pg_namespace
      UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, proacl FROM pg_proc
      UNION ALL SELECT 'TYPE', oid::regtype::text, typacl FROM pg_type
      UNION ALL SELECT 'DATABASE', quote_ident(datname), datacl FROM pg_database
    ) object, aclexplode(acl) WHERE grantee = account
    UNION ALL
    SELECT format('GRANT %s (%I) ON TABLE %s TO ml_trainer', privilege_type, attname, attrelid::regclass)
      FROM pg_attribute, aclexplode(attacl) WHERE grantee = account
    UNION ALL
    SELECT format('GRANT %s TO ml_trainer', roleid::regrole)
      FROM pg_auth_members WHERE member = account AND roleid <> 'ml_trainer'::regrole
    UNION ALL
    SELECT format('ALTER POLICY %I ON %s TO %s, ml_trainer', polname, polrelid::regclass,
                  (SELECT string_agg(role::regrole::text, ', ') FROM unnest(polroles) role))
      FROM pg_policy WHERE account = ANY(polroles)
    UNION ALL                                                  -- and for what will be made: by the account, or for it
    SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %s %s GRANT %s ON %s TO %s',
                  CASE defaclrole WHEN account THEN 'ml_trainer' ELSE defaclrole::regrole::text END,
                  'IN SCHEMA ' || nullif(defaclnamespace, 0)::regnamespace, privilege_type,
                  CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES'
                                     WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END,
                  CASE grantee WHEN account THEN 'ml_trainer' WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
      FROM pg_default_acl, aclexplode(defaclacl)
     WHERE account IN (defaclrole, grantee) AND defaclrole <> grantee
  LOOP
    EXECUTE given;
  END LOOP;
END $$;
ALTER DEFAULT PRIVILEGES FOR ROLE ml_trainer_a GRANT ALL ON TABLES TO ml_trainer;      -- what open sessions make
ALTER DEFAULT PRIVILEGES FOR ROLE ml_trainer_a GRANT ALL ON SEQUENCES TO ml_trainer;
ALTER DEFAULT PRIVILEGES FOR ROLE ml_trainer_a GRANT ALL ON SCHEMAS TO ml_trainer;
ALTER ROLE ml_trainer_a SET role = ml_trainer;                 -- what it makes belongs to ml_trainer
GRANT ml_trainer_a TO keyturn_admin WITH ADMIN OPTION;         -- from 16 on add: , INHERIT FALSE, SET FALSE
COMMIT;
