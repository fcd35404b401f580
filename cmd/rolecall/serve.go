package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/api"
	"github.com/rolecall/rolecall/events/delivery"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/server"
	"github.com/rolecall/rolecall/oidc/provider"
	"github.com/rolecall/rolecall/portal"
	"github.com/rolecall/rolecall/scim"
)

func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Start the server",
		Long: `Starts the server. An embedded database is made and migrated by itself. While
there is no operator, each start prints a link by which the first one signs up;
the link works once and for an hour.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInstance(cmd, func(ctx context.Context, in *instance) error {
				listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", in.config.Listen)
				if err != nil {
					return fmt.Errorf("listen: %w", err)
				}
				srv, err := in.server(ctx)
				if err != nil {
					return err
				}
				if err := in.keepRoom(); err != nil {
					return err
				}
				if err := in.welcome(ctx, cmd, listener); err != nil {
					return err
				}
				// What the last requests left in the log is written once all are done.
				return errors.Join(srv.Run(ctx, listener), in.provisioning.Flush(context.WithoutCancel(ctx)))
			})
		},
	}
}

// keepRoom has one more goroutine run at a time than passwords are hashed: in a
// flood of sign-ins the others would wait for a hash to be done with its slice of
// 10 ms, each time that they wait for anything. The system, which divides the
// processors then, takes a third of that. GOMAXPROCS, if set, has the last word.
func (in *instance) keepRoom() error {
	hashing, err := in.config.hashing()
	if err != nil || os.Getenv("GOMAXPROCS") != "" {
		return err
	}
	now := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(max(now, cmp.Or(hashing.Parallel, now)+1))
	return nil
}

// server wires the edges on the domain.
func (in *instance) server(ctx context.Context) (*server.Server, error) {
	if err := in.oidc.EnsureKeys(ctx); err != nil {
		return nil, err
	}
	jar := cookie.NewJar(in.config.secure())
	scimEdge, err := scim.New(scim.Deps{
		Directory: in.directory, Authn: in.authn, OIDC: in.oidc, Schemas: in.schemas, Keyring: in.keyring, Now: in.now,
		PublicURL: in.config.PublicURL, Log: in.logger,
		Trail:    in.provisioning,
		Parallel: in.parallel(),
	})
	if err != nil {
		return nil, err
	}
	portalEdge, err := portal.New(portal.Deps{
		Authn: in.authn, OIDC: in.oidc, Directory: in.directory, Blueprints: in.blueprints, Upstream: in.upstream, Mail: in.mail, Cookies: jar, Now: in.now, Logger: in.logger,
		Language: in.config.Language,
	})
	if err != nil {
		return nil, err
	}
	providerEdge, err := provider.New(provider.Deps{
		OIDC: in.oidc, Authn: in.authn, Cookies: jar, Logger: in.logger, Stylesheet: portalEdge.Stylesheet(), Language: in.config.Language,
		Private: in.config.private(),
	})
	if err != nil {
		return nil, err
	}
	apiEdge := api.New(api.Deps{
		Directory: in.directory, Blueprints: in.blueprints, Authn: in.authn, OIDC: in.oidc, Events: in.events, Outbound: in.outbound, Upstream: in.upstream, Now: in.now, Logger: in.logger,
		Provisioning: in.provisioning, Replayer: scimEdge,
	})
	eventsEdge := delivery.New(delivery.Deps{Events: in.events, OIDC: in.oidc, PublicURL: in.config.PublicURL, Logger: in.logger, Now: in.now})
	options := server.Options{
		Edges:    []server.Edge{scimEdge, providerEdge, apiEdge, portalEdge, eventsEdge},
		Workers:  append(in.workers(providerEdge), scimEdge, eventsEdge, in.outbound),
		NotFound: portalEdge.NotFound(),
		Ready:    in.store.Ping,
		Logger:   in.logger, Now: in.now, HSTS: in.config.secure(),
		TLSCertFile: in.config.TLSCertFile, TLSKeyFile: in.config.TLSKeyFile,
	}
	if in.config.MetricsListen != "" {
		if options.Metrics, err = (&net.ListenConfig{}).Listen(ctx, "tcp", in.config.MetricsListen); err != nil {
			return nil, fmt.Errorf("metrics_listen: %w", err)
		}
	}
	return server.New(options)
}

// How often what has expired is removed, and how long deliveries that were done
// stay to be looked at.
const (
	cleanEvery     = 10 * time.Minute
	keepDeliveries = 7 * 24 * time.Hour
)

// settled is how long after its start a server has begun all that it does by itself.
const settled = 2 * time.Second

// bulkOperations is how many operations of a bulk request are carried out at a
// time where the database can write beside itself.
const bulkOperations = 8

func (in *instance) parallel() int {
	if in.store.Dialect() == "sqlite" {
		return 1
	}
	return bulkOperations
}

// deliverers do what is in the outbox.
func (in *instance) deliverers(p *provider.Provider) map[outbox.Kind]outbox.Handler {
	return map[outbox.Kind]outbox.Handler{
		outbox.BackchannelLogout: p.Deliver,
		outbox.PasswordReset:     in.deliverPasswordReset,
		outbox.Mail:              in.mail.Deliver,
		outbox.Registration: func(ctx context.Context, d outbox.Delivery) error {
			return in.authn.DeliverRegistration(ctx, d, in.directory.WriteToRegistrant)
		},
	}
}

// workers returns what runs beside the server: deliveries, and the removal of
// what is of no use any more.
func (in *instance) workers(p *provider.Provider) []server.Worker {
	return []server.Worker{
		in.provisioning,
		&outbox.Worker{
			Store: in.store, Handlers: in.deliverers(p), Now: in.now, Logger: in.logger,
		},
		server.Periodic{Every: cleanEvery, Logger: in.logger, Tasks: map[string]func(ctx context.Context) error{
			"tokens":           in.oidc.Clean,
			"provisioning log": in.provisioning.Clean,
			"event streams":    in.events.Clean,
			"invitations":      in.expireInvitations,
			"sign-ins": func(ctx context.Context) error {
				_, err := in.authn.Sweep(ctx)
				return err
			},
			"letters":               in.mail.Clean,
			"bookmarks":             in.directory.DeleteBookmarks,
			"asynchronous requests": in.directory.CleanAsync,
			"deliveries":            func(ctx context.Context) error { return in.store.DeleteDeliveries(ctx, in.now().Add(-keepDeliveries)) },
		}},
		server.Periodic{First: settled, Every: cleanEvery, Logger: in.logger, Tasks: map[string]func(ctx context.Context) error{
			"program's pages": func(context.Context) error { return unmapProgram() },
		}},
	}
}

// byItself returns ctx for what is done by the server itself.
func byItself(ctx context.Context) context.Context {
	return audit.WithActor(operator(ctx), audit.Actor{Kind: audit.ActorSystem})
}

func (in *instance) expireInvitations(ctx context.Context) error {
	return in.authn.ExpireInvitations(byItself(ctx), in.directory.InvitationExpired)
}

func (in *instance) deliverPasswordReset(ctx context.Context, d outbox.Delivery) error {
	return in.authn.DeliverPasswordReset(byItself(ctx), d, in.directory.InviteAgain)
}

// welcome says where the server is, and how the first operator signs up: before the
// first line of the log, which newcomers would have to read past.
func (in *instance) welcome(ctx context.Context, cmd *cobra.Command, listener net.Listener) error {
	text := "Rolecall is at " + in.config.PublicURL + "\n"
	needed, err := in.authn.NeedsSetup(ctx)
	if err != nil {
		return err
	}
	if needed {
		token, err := in.authn.SetupLink(ctx)
		if err != nil {
			return err
		}
		text += "Set up the first operator (works once, for an hour): " + in.setupLink(token) + "\n"
	}
	if _, err := fmt.Fprint(cmd.OutOrStdout(), text); err != nil {
		return err
	}
	in.logger.InfoContext(ctx, "serving", "address", listener.Addr().String(), "public_url", in.config.PublicURL, "database", in.store.Dialect())
	return nil
}
