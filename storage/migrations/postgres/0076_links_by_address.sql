-- +goose Up

-- A link that was mailed is worth no more than the mailbox: it is good while its
-- person has the address that it went to.
ALTER TABLE one_time_links ADD COLUMN sent_to text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE one_time_links DROP COLUMN sent_to;
