package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/storage"
)

// printJSON shows v as indented JSON.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "migrate", Short: "Bring the database's schema up to date"}
	var asJSON bool
	status := &cobra.Command{
		Use: "status", Short: "List the migrations", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *storage.Store) error {
				steps, err := s.Migrations(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), steps)
				}
				for _, step := range steps {
					state := "pending"
					if step.Applied {
						state = "applied"
					}
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%04d  %-8s %s\n", step.Version, state, step.Name)
				}
				return err
			})
		},
	}
	status.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.AddCommand(status, &cobra.Command{
		Use: "up", Short: "Apply what is pending", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *storage.Store) error { return s.Migrate(ctx) })
		},
	})
	return cmd
}

// withStore runs f on the configured database, whatever its schema.
func withStore(cmd *cobra.Command, f func(ctx context.Context, s *storage.Store) error) error {
	c, _, err := configure(cmd)
	if err != nil {
		return err
	}
	address, err := c.database()
	if err != nil {
		return err
	}
	s, err := storage.Open(cmd.Context(), address)
	if err != nil {
		return err
	}
	return errors.Join(f(cmd.Context(), s), s.Close())
}

// membershipCommand switches people off and on at the command line, as a
// directory does over SCIM.
func membershipCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "membership", Short: "Suspend or reactivate a person in a tenant"}
	verbs := []struct {
		name, about string
		do          func(d *directory.Directory, ctx context.Context, tenant id.Tenant, membership id.Membership) (*directory.Membership, error)
	}{
		{"suspend", "Switch a person off in a tenant: all that they hold there ends at once", (*directory.Directory).Suspend},
		{"reactivate", "Switch a person on again", (*directory.Directory).Reactivate},
	}
	for _, verb := range verbs {
		cmd.AddCommand(&cobra.Command{
			Use: verb.name + " TENANT EMAIL", Short: verb.about, Args: cobra.ExactArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return withInstance(cmd, func(ctx context.Context, in *instance) error {
					m, err := in.membership(ctx, args[0], args[1])
					if err != nil {
						return err
					}
					if m, err = verb.do(in.directory, operator(ctx), m.Tenant, m.ID); err != nil {
						return plain(err)
					}
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s in %s\n", args[1], m.Status, args[0])
					return err
				})
			},
		})
	}
	return cmd
}

// membership finds a membership by the tenant's slug and the person's address.
func (in *instance) membership(ctx context.Context, tenant, email string) (*directory.Membership, error) {
	t, err := in.tenant(ctx, tenant)
	if err != nil {
		return nil, plain(err)
	}
	user, err := in.store.UserByEmail(ctx, email)
	if err == nil {
		var m *directory.Membership
		if m, err = in.store.MembershipOfUser(ctx, t, user.ID); err == nil {
			return m, nil
		}
	}
	if errors.Is(err, fault.NotFound) {
		return nil, fmt.Errorf("%s is no member of %s", email, tenant)
	}
	return nil, err
}

func setupLinkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "setup-link", Short: "Make a new link for the first operator", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInstance(cmd, func(ctx context.Context, in *instance) error {
				token, err := in.authn.SetupLink(operator(ctx))
				if err != nil {
					return plain(err)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), in.setupLink(token))
				return err
			})
		},
	}
}

func (in *instance) setupLink(token secret.Text) string {
	return in.config.PublicURL + "/setup?token=" + url.QueryEscape(token.Reveal())
}

// healthcheckCommand is what a container asks: whether the server beside it is
// ready.
func healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "healthcheck", Short: "Ask the running server whether it is ready", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := configure(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
			defer cancel()
			return ready(ctx, c)
		},
	}
}

// ready asks the server at the configured address, by way of this machine.
func ready(ctx context.Context, c *config) error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if c.TLSCertFile != "" {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		// The certificate is for the public name. Nothing secret is sent, and
		// an answer by somebody else on this machine would only say "ready".
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as said above
	}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // nothing is read from it
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	return nil
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := version()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "rolecall %s (%s, %s)\n", v.Version, v.Revision, v.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// build is what the Go tool recorded in the binary.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

func version() build {
	b := build{Version: "unknown", Revision: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version, b.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}
