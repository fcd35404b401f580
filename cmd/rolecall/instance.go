package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/oidc/provider"
	"github.com/rolecall/rolecall/outbound"
	"github.com/rolecall/rolecall/provisioning"
	"github.com/rolecall/rolecall/scim/client"
	"github.com/rolecall/rolecall/scim/schema"
	"github.com/rolecall/rolecall/storage"
	"github.com/rolecall/rolecall/upstream"
	"github.com/rolecall/rolecall/upstream/relyingparty"
)

// instance is one deployment's domain, wired on its database.
type instance struct {
	mail       *mail.Office
	config     *config
	logger     *slog.Logger
	now        func() time.Time
	store      *storage.Store
	keyring    *secret.Keyring
	blueprints *directory.Blueprints
	schemas    *schema.Registry
	authn      *authn.Authn
	oidc       *oidc.OIDC
	directory  *directory.Directory
	events     *events.Events
	outbound   *outbound.Outbound
	upstream   *upstream.Upstream

	provisioning *provisioning.Log
}

// openInstance opens the database, brings an embedded or empty one up to date,
// and wires the domain.
func openInstance(ctx context.Context, c *config, logger *slog.Logger) (*instance, error) {
	address, err := c.database()
	if err != nil {
		return nil, err
	}
	keyring, err := openKeyring(c, address)
	if err != nil {
		return nil, err
	}
	store, err := storage.Open(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("database_url: %w", err)
	}
	in := &instance{config: c, logger: logger, now: clock(), store: store, keyring: keyring}
	if err := errors.Join(in.bringUpToDate(ctx), in.wire()); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if err := in.blueprints.KeepUsed(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return in, nil
}

// Close closes the database.
func (in *instance) Close() error { return in.store.Close() }

// bringUpToDate migrates a database that nobody else shares, and one that is
// empty. Any other is migrated by the operator, who knows when.
func (in *instance) bringUpToDate(ctx context.Context) error {
	steps, err := in.store.Migrations(ctx)
	if err != nil {
		return err
	}
	applied := 0
	for _, step := range steps {
		if step.Applied {
			applied++
		}
	}
	switch {
	case applied == len(steps):
		return nil
	case applied == 0 || in.store.Dialect() == "sqlite":
		return in.store.Migrate(ctx)
	default:
		return fmt.Errorf("the database is %d of %d migrations behind: run rolecall migrate up", len(steps)-applied, len(steps))
	}
}

func (in *instance) wire() error {
	shipped, err := authz.Shipped()
	if err != nil {
		return err
	}
	in.blueprints = directory.NewBlueprints(in.store, shipped, in.now)
	if in.schemas, err = schema.Core(); err != nil {
		return err
	}
	rights := directory.NewRights(in.store, in.blueprints)
	if err := in.wireMail(); err != nil {
		return err
	}
	hashing, err := in.config.hashing()
	if err != nil {
		return err
	}
	in.authn, err = authn.New(authn.Deps{
		Store: in.store, Rights: rights, Keyring: in.keyring, PublicURL: in.config.PublicURL, Letters: in.mail, Now: in.now, Logger: in.logger, Hashing: hashing,
		FirstPassword: func(ctx context.Context, user id.User) error { return in.directory.FirstPassword(ctx, user) },
	})
	if err != nil {
		return err
	}
	in.oidc, err = oidc.New(oidc.Deps{
		Issuer: in.config.PublicURL, Store: in.store, Authn: in.authn,
		Rights: rights, Keyring: in.keyring, Now: in.now, Logger: in.logger,
		KeySets: provider.NewKeySets(in.config.private()),
	})
	if err != nil {
		return err
	}
	in.events, err = events.New(events.Deps{
		Store: in.store, Rights: rights, Schemas: in.schemas, Keyring: in.keyring, Issuer: in.config.PublicURL, Now: in.now,
	})
	if err != nil {
		return err
	}
	in.store.Follow(in.events)
	in.outbound, err = outbound.New(outbound.Deps{
		Store: in.store, Rights: rights, Definition: in.definition, Dial: client.NewDialer(in.config.private(), in.now).Dial, Private: in.config.private(),
		Keyring: in.keyring, Now: in.now, Logger: in.logger,
	})
	if err != nil {
		return err
	}
	in.directory, err = directory.New(directory.Deps{
		Store: in.store, Holdings: in.oidc, Accounts: in.oidc, Passwords: in.authn, Credentials: in.authn, Rights: rights, Schemas: in.schemas,
		Followers: []directory.Follower{in.events, in.outbound}, Now: in.now,
	})
	if err != nil {
		return err
	}
	party, err := relyingparty.New(in.config.private(), in.now)
	if err != nil {
		return err
	}
	in.upstream = upstream.New(upstream.Deps{
		Store: in.store, Directory: in.directory, Authn: in.authn, Sessions: in.oidc, Party: party, Keyring: in.keyring,
		PublicURL: in.config.PublicURL, Private: in.config.private(), Now: in.now, Logger: in.logger,
	})
	in.provisioning = provisioning.New(provisioning.Deps{Store: in.store, Directory: in.directory, Now: in.now, Logger: in.logger})
	return nil
}

// wireMail opens the office that letters go through, with the mail server if one
// is configured.
func (in *instance) wireMail() error {
	var server mail.Sender
	if in.config.SMTPURL != "" {
		from := "rolecall@localhost"
		if u, err := url.Parse(in.config.PublicURL); err == nil && u.Hostname() != "" {
			from = "rolecall@" + u.Hostname()
		}
		smtp, err := mail.NewSMTP(in.config.SMTPURL, from)
		if err != nil {
			return err
		}
		server = smtp
	}
	var err error
	in.mail, err = mail.NewOffice(in.store, in.keyring, server, in.config.Language, in.now)
	return err
}

// definition returns a resource type of a tenant.
func (in *instance) definition(ctx context.Context, tenant id.Tenant, kind outbound.Kind) (*schema.ResourceType, error) {
	registry, err := in.directory.Schemas(ctx, tenant)
	if err != nil {
		return nil, err
	}
	t, found := registry.ResourceType(string(kind))
	if !found {
		return nil, fmt.Errorf("the tenant %s has no resource type %s", tenant, kind)
	}
	return t, nil
}

// operator returns ctx as the operator's at the command line.
func operator(ctx context.Context) context.Context {
	return authz.NewContext(
		audit.WithActor(ctx, audit.Actor{Kind: audit.ActorOperator, ID: "command line"}),
		authz.Principal{Kind: authz.OperatorPrincipal, Channel: authz.ChannelAPI},
	)
}

// openKeyring reads the master key that is configured, or the one that is kept
// beside the SQLite file, which it makes if there is none.
func openKeyring(c *config, database string) (*secret.Keyring, error) {
	text := c.MasterKey
	switch path, embedded := strings.CutPrefix(database, "sqlite:"); {
	case text != "":
	case c.MasterKeyFile != "":
		content, err := os.ReadFile(c.MasterKeyFile)
		if err != nil {
			return nil, fmt.Errorf("master_key_file: %w", err)
		}
		text = string(content)
	case embedded:
		var err error
		if text, err = keyBeside(path); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("PostgreSQL needs a master key: set ROLECALL_MASTER_KEY or ROLECALL_MASTER_KEY_FILE to 32 random bytes in base64, for instance from: openssl rand -base64 32")
	}
	master, err := secret.ParseMasterKey(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("master_key: %w", err)
	}
	return secret.NewKeyring(master)
}

// keyBeside returns the master key kept beside the SQLite file at path. Without
// that key the database can't be read: whoever backs up one backs up both,
// apart from each other.
func keyBeside(path string) (string, error) {
	name := path + ".key"
	text := base64.StdEncoding.EncodeToString(secret.NewMasterKey())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the path is the operator's
	if errors.Is(err, fs.ErrExist) {
		content, err := os.ReadFile(name) //nolint:gosec // the path is the operator's
		return string(content), err
	}
	if err != nil {
		return "", fmt.Errorf("make a master key beside the database: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	return text, errors.Join(err, f.Sync(), f.Close())
}
