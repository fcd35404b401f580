package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/secret"
)

//go:embed demo.yaml
var demoSource []byte

func demoCommand() *cobra.Command {
	var password string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Serve a throw-away instance with five portals to try, and print logins",
		Long: `Serves an instance on a database of its own that is removed when it ends: the
five portals and the role system "default", tenants in their relations, and
people of every role, those who may not sign in included. It prints how to sign
in as each and which rules they are good for.

Whoever can read the output can do everything in the instance. It listens on
this machine alone unless told otherwise.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd, password) },
	}
	cmd.Flags().StringVar(&password, "password", "", "everybody's password; by default one is made at each start")
	return cmd
}

// demo serves until the context of the command ends.
func demo(cmd *cobra.Command, password string) (err error) {
	c, logger, err := configure(cmd)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "rolecall-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	listener, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	in, d, err := openDemo(cmd.Context(), demoConfig(c, folder, listener.Addr()), logger, password)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	srv, err := in.server(cmd.Context())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	text := d.text(in.config)
	if isTerminal(cmd.OutOrStdout()) {
		text = strings.Replace(text, demoWarning, "\x1b[1m"+demoWarning+"\x1b[0m", 1)
	}
	if _, err := fmt.Fprint(cmd.OutOrStdout(), text); err != nil {
		return errors.Join(err, listener.Close())
	}
	return srv.Run(cmd.Context(), listener)
}

func isTerminal(w any) bool {
	f, isFile := w.(*os.File)
	if !isFile {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// demoConfig turns the configuration to a database in the folder, with a key of
// its own and without mail. Where no public address was chosen it is that of the
// listener.
func demoConfig(c *config, folder string, address net.Addr) *config {
	of := *c
	of.DatabaseURL = "sqlite:" + filepath.Join(folder, "rolecall.db")
	of.MasterKey, of.MasterKeyFile, of.SMTPURL = "", "", ""
	if tcp, ok := address.(*net.TCPAddr); ok && c.PublicURL == settings()["public_url"].preset {
		scheme := "http"
		if c.TLSCertFile != "" {
			scheme = "https"
		}
		of.PublicURL = fmt.Sprintf("%s://localhost:%d", scheme, tcp.Port)
	}
	return &of
}

// demoSystem is one portal of demo.yaml.
type demoSystem struct {
	Blueprint    string              `yaml:"blueprint"`
	Title        string              `yaml:"title"`
	Tenants      []applyTenant       `yaml:"tenants"`
	Grantable    map[string][]string `yaml:"grantable"` // tenant to entitlements that it may pass on
	Delegated    []demoDelegation    `yaml:"delegated"`
	Consent      []string            `yaml:"consent"` // tenants that allow support sessions
	People       []demoPerson        `yaml:"people"`
	Applications []applyApplication  `yaml:"applications"`
}

type demoDelegation struct {
	From      string `yaml:"from"`
	To        string `yaml:"to"`
	Key       string `yaml:"key"`
	Grantable bool   `yaml:"grantable"`
}

type demoPerson struct {
	Email     string            `yaml:"email"`
	Roles     map[string]string `yaml:"roles"` // tenant to roles, with commas
	Status    string            `yaml:"status"`
	Resources map[string]string `yaml:"resources"` // role to the one resource on which it is held
	TOTP      bool              `yaml:"totp"`
	Try       string            `yaml:"try"`

	key string // of the second factor; empty: none
}

// tenants returns the slugs of the person's tenants, sorted.
func (p *demoPerson) tenants() []string { return slices.Sorted(maps.Keys(p.Roles)) }

// roles returns what the person has in a tenant.
func (p *demoPerson) roles(tenant string) []string {
	roles := []string{}
	for role := range strings.SplitSeq(p.Roles[tenant], ",") {
		if role = strings.TrimSpace(role); role != "" {
			roles = append(roles, role)
		}
	}
	return roles
}

// demoInstance is what was made, with the secrets of this start.
type demoInstance struct {
	Systems []demoSystem `yaml:"systems"`

	password string
	token    string            // of the operator
	secrets  map[string]string // by client_id
}

// What the demo has beside demo.yaml.
const (
	demoOperator    = "operator@demo.example"
	demoApplication = "demo-app"
	demoRedirect    = "http://localhost:9999/callback"
)

// describeDemo reads demo.yaml and makes a password, unless one is given.
func describeDemo(password string) (*demoInstance, error) {
	d := &demoInstance{password: cmp.Or(password, "demo-"+rand.Text()[:12]+"-7a"), secrets: map[string]string{}}
	decoder := yaml.NewDecoder(bytes.NewReader(demoSource))
	decoder.KnownFields(true)
	if err := decoder.Decode(d); err != nil {
		return nil, fmt.Errorf("demo.yaml: %w", err)
	}
	return d, nil
}

// openDemo makes an instance and fills it. The caller closes it.
func openDemo(ctx context.Context, c *config, logger *slog.Logger, password string) (*instance, *demoInstance, error) {
	d, err := describeDemo(password)
	if err != nil {
		return nil, nil, err
	}
	in, err := openInstance(ctx, c, logger)
	if err != nil {
		return nil, nil, err
	}
	if err := d.fill(operator(ctx), in); err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	return in, d, nil
}

// fill makes the tenants, people and applications, by way of apply wherever its
// file has words for it.
func (d *demoInstance) fill(ctx context.Context, in *instance) error {
	operates := true
	file := &applyFile{
		Users: []applyUser{{Email: demoOperator, Password: sensitiveText{secret.NewText(d.password)}, Operator: &operates}},
		Applications: []applyApplication{{
			ClientID: demoApplication, Name: "Demo", Type: "web", RedirectURIs: []string{demoRedirect},
		}},
		ApplicationTokens: []applyApplicationToken{{Name: "demo", Creator: demoOperator}},
	}
	for i := range d.Systems {
		if err := d.describe(ctx, in, &d.Systems[i], file); err != nil {
			return err
		}
	}
	report, err := in.apply(ctx, file)
	if err != nil {
		return err
	}
	for _, a := range report.Applications {
		d.secrets[a.ClientID] = a.Secret
	}
	for _, t := range report.ApplicationTokens {
		d.token = t.Token
	}
	for i := range d.Systems {
		if err := d.complete(ctx, in, &d.Systems[i]); err != nil {
			return fmt.Errorf("%s: %w", d.Systems[i].Blueprint, plain(err))
		}
	}
	return nil
}

// describe adds a system to the file.
func (d *demoInstance) describe(ctx context.Context, in *instance, system *demoSystem, file *applyFile) error {
	needsMFA, err := d.needsMFA(ctx, in, system)
	if err != nil {
		return err
	}
	for _, t := range system.Tenants {
		t.Blueprint = system.Blueprint
		file.Tenants = append(file.Tenants, t)
	}
	for i := range system.People {
		p := &system.People[i]
		u := applyUser{Email: p.Email, Password: sensitiveText{secret.NewText(d.password)}}
		given, _, _ := strings.Cut(p.Email, "@")
		u.Name = applyName{Given: strings.ToUpper(given[:1]) + given[1:], Family: strings.ToUpper(system.Blueprint[:1]) + system.Blueprint[1:]}
		if p.TOTP || slices.ContainsFunc(p.tenants(), func(slug string) bool { return needsMFA[slug] }) {
			if p.key, err = newTOTPKey(); err != nil {
				return err
			}
			u.TOTP = sensitiveText{secret.NewText(p.key)}
		}
		for _, tenant := range p.tenants() {
			u.Memberships = append(u.Memberships, applyMembership{Tenant: tenant, Roles: p.roles(tenant), Status: p.Status})
		}
		file.Users = append(file.Users, u)
	}
	file.Applications = append(file.Applications, system.Applications...)
	return nil
}

// needsMFA returns the tenants in which the role system, by their tier, or their
// own policy asks for a second factor.
func (d *demoInstance) needsMFA(ctx context.Context, in *instance, system *demoSystem) (map[string]bool, error) {
	b, err := in.blueprints.InForce(ctx, system.Blueprint)
	if err != nil {
		return nil, err
	}
	needs := map[string]bool{}
	for _, t := range system.Tenants {
		needs[t.Slug] = t.Policy != nil && t.Policy.MFA == string(directory.MFARequired)
		policy := b.Document().MFA
		if tier, err := b.Tier(t.Tier); err == nil && policy != nil && policy.RequiredWhen.Entitlement != "" {
			needs[t.Slug] = needs[t.Slug] || slices.Contains(tier.Entitlements, policy.RequiredWhen.Entitlement)
		}
	}
	return needs, nil
}

// newTOTPKey returns 160 bits in base32 (RFC 6238 §5.1, RFC 4226 §4).
func newTOTPKey() (string, error) {
	var key [20]byte
	if _, err := rand.Read(key[:]); err != nil {
		return "", err
	}
	return base32.StdEncoding.EncodeToString(key[:]), nil
}

// complete does what the file of apply has no words for.
func (d *demoInstance) complete(ctx context.Context, in *instance, system *demoSystem) error {
	for _, slug := range slices.Sorted(maps.Keys(system.Grantable)) {
		tenant, err := in.tenant(ctx, slug)
		if err != nil {
			return err
		}
		for _, key := range system.Grantable[slug] {
			if err := in.directory.Entitle(ctx, tenant, key, true); err != nil {
				return err
			}
		}
	}
	for _, delegation := range system.Delegated {
		from, err := in.tenant(ctx, delegation.From)
		if err != nil {
			return err
		}
		to, err := in.tenant(ctx, delegation.To)
		if err != nil {
			return err
		}
		if err := in.directory.Delegate(ctx, from, to, delegation.Key, delegation.Grantable); err != nil {
			return err
		}
	}
	for _, slug := range system.Consent {
		tenant, err := in.tenant(ctx, slug)
		if err != nil {
			return err
		}
		if err := in.directory.SetSupportAccess(ctx, tenant, true); err != nil {
			return err
		}
	}
	for i := range system.People {
		if err := in.grantResources(ctx, &system.People[i]); err != nil {
			return err
		}
	}
	return nil
}

// grantResources gives the roles that the person holds on one resource.
func (in *instance) grantResources(ctx context.Context, p *demoPerson) error {
	for _, role := range slices.Sorted(maps.Keys(p.Resources)) {
		m, err := in.membership(ctx, p.tenants()[0], p.Email)
		if err != nil {
			return err
		}
		err = in.directory.GrantResource(ctx, directory.ResourceGrant{
			Tenant: m.Tenant, Membership: m.ID, Role: role, Resource: p.Resources[role], Comment: "for the demo",
		})
		if err != nil {
			return err
		}
	}
	return nil
}
