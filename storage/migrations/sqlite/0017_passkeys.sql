-- +goose Up

-- Passkeys (WebAuthn credentials): the key is public, and the authenticator
-- keeps the other half.
CREATE TABLE passkeys (
    id              text PRIMARY KEY,
    user_id         text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   blob NOT NULL UNIQUE,
    public_key      blob NOT NULL,
    sign_count      bigint NOT NULL,
    aaguid          blob NOT NULL,
    transports      text NOT NULL,
    name            text NOT NULL,
    backup_eligible boolean NOT NULL,
    backed_up       boolean NOT NULL,
    created_at      datetime NOT NULL,
    last_used_at    datetime
);
CREATE INDEX passkeys_user ON passkeys (user_id);

-- What authenticators know a person by: random, and the same for all their passkeys.
CREATE TABLE passkey_handles (
    user_id text PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    handle  blob NOT NULL UNIQUE
);

-- Challenges that have not been answered. owner is whose answer is waited for: a
-- sign-in, a session, or the hash of a browser's cookie.
CREATE TABLE passkey_challenges (
    hash       blob PRIMARY KEY,
    purpose    text NOT NULL,
    owner      text NOT NULL,
    state      text NOT NULL,
    expires_at datetime NOT NULL
);

-- +goose Down
DROP TABLE passkey_challenges;
DROP TABLE passkey_handles;
DROP TABLE passkeys;
