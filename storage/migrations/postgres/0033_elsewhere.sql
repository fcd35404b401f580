-- +goose Up
-- lock_default_tenant has the person's default tenant to itself until the
-- transaction ends, and returns it as it is then, with whether the person is a
-- member of any tenant but the one beside: most are of one tenant alone, and then
-- there is nothing to choose from. Both are null for somebody who does not exist.
-- The function of the same name without beside stays for nodes of the version before.
-- +goose StatementBegin
CREATE FUNCTION lock_default_tenant(person text, beside text, OUT home text, OUT elsewhere boolean) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(person, 1));
    SELECT u.default_tenant_id, EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = person AND m.tenant_id <> beside)
        INTO home, elsewhere FROM users u WHERE u.id = person;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION lock_default_tenant(text, text);
