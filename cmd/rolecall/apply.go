package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/events"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/outbound"
)

func applyCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make the instance hold what a file says",
		Long: `Makes the instance hold what a YAML file says: tenants, users, applications and
application tokens. What is there is changed, what is missing is made, and
nothing that the file leaves out is removed; applying a file twice changes
nothing. All of it happens, or nothing. Secrets that had to be made are printed
once and can't be read again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := readApply(path, cmd.InOrStdin())
			if err != nil {
				return err
			}
			return withInstance(cmd, func(ctx context.Context, in *instance) error {
				report, err := in.apply(operator(ctx), file)
				if err != nil {
					return err
				}
				return report.print(cmd.OutOrStdout(), asJSON)
			})
		},
	}
	cmd.Flags().StringVarP(&path, "file", "f", "", "the file; - for standard input")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	_ = cmd.MarkFlagRequired("file") // fails only for a flag that is not there
	return cmd
}

func readApply(path string, stdin io.Reader) (*applyFile, error) {
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(path) //nolint:gosec // the path is the operator's
	}
	if err != nil {
		return nil, err
	}
	file, err := parseApply(text, os.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// applyReport says what an apply found or made. Secrets are only those that it
// had to make.
type applyReport struct {
	Tenants           []appliedTenant      `json:"tenants"`
	Users             []appliedUser        `json:"users"`
	Applications      []appliedApplication `json:"applications"`
	ApplicationTokens []appliedToken       `json:"application_tokens"`
}

type appliedTenant struct {
	Slug        string              `json:"slug"`
	ID          id.Tenant           `json:"id"`
	SCIM        string              `json:"scim"`
	Connections []appliedConnection `json:"connections,omitempty"`
	// EventStreams have a token where one was made to poll with.
	EventStreams []appliedConnection `json:"event_streams,omitempty"`
}

type appliedConnection struct {
	Name  string `json:"name"`
	Token string `json:"token,omitempty"`
}

type appliedUser struct {
	Email string  `json:"email"`
	ID    id.User `json:"id"`
}

type appliedApplication struct {
	ClientID string `json:"client_id"`
	Secret   string `json:"secret,omitempty"`
}

type appliedToken struct {
	Name  string `json:"name"`
	Token string `json:"token,omitempty"`
}

// apply makes the instance hold what the file says, in one transaction.
func (in *instance) apply(ctx context.Context, file *applyFile) (*applyReport, error) {
	var report *applyReport
	err := in.store.InTx(ctx, func(ctx context.Context) error {
		report = &applyReport{}
		return errors.Join(
			each("tenants", file.Tenants, func(t applyTenant) string { return t.Slug }, func(t applyTenant) error { return in.applyTenant(ctx, t, report) }),
			each("tenants", file.Tenants, func(t applyTenant) string { return t.Slug }, func(t applyTenant) error { return in.applyRelations(ctx, t) }),
			each("users", file.Users, func(u applyUser) string { return u.Email }, func(u applyUser) error { return in.applyUser(ctx, u, report) }),
			each("authorization_details_types", file.DetailTypes, func(t applyDetailType) string { return t.Type }, func(t applyDetailType) error { return in.applyDetailType(ctx, t) }),
			each("applications", file.Applications, func(a applyApplication) string { return a.ClientID }, func(a applyApplication) error { return in.applyApplication(ctx, a, report) }),
			each("authorization_details_types", file.DetailTypes, func(t applyDetailType) string { return t.Type }, func(t applyDetailType) error { return in.removeDetailType(ctx, t) }),
			each("tenants", file.Tenants, func(t applyTenant) string { return t.Slug }, func(t applyTenant) error { return in.applyConnectionApplications(ctx, t) }),
			each("application_tokens", file.ApplicationTokens, func(t applyApplicationToken) string { return t.Name }, func(t applyApplicationToken) error { return in.applyApplicationToken(ctx, t, report) }),
		)
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

// each applies the items of one list and says of an error which item it is. It
// ends at the first error: on PostgreSQL the transaction is over then.
func each[T any](list string, items []T, name func(T) string, do func(T) error) error {
	for i, item := range items {
		if err := do(item); err != nil {
			label := name(item)
			if label == "" {
				label = fmt.Sprintf("#%d", i+1)
			}
			return fmt.Errorf("%s[%s]: %w", list, label, plain(err))
		}
	}
	return nil
}

// plain returns the sentence that an error has for the operator.
func plain(err error) error {
	f := fault.As(err)
	if f.Kind == fault.Internal || f.Detail == "" {
		return err
	}
	if f.Field == "" {
		return errors.New(f.Detail)
	}
	return fmt.Errorf("%s: %s", f.Field, f.Detail)
}

func (in *instance) applyTenant(ctx context.Context, t applyTenant, report *applyReport) error {
	spec := directory.TenantSpec{
		Slug: t.Slug, Name: t.Name, Blueprint: t.Blueprint, Type: t.Type, Tier: t.Tier, Status: t.Status,
		Domains: t.Domains, Entitlements: t.Entitlements, GrantableEntitlements: t.Grantable,
	}
	if t.Policy != nil {
		var err error
		if spec.Policy, err = t.Policy.policy(); err != nil {
			return err
		}
		spec.SupportAccess = t.Policy.SupportAccess
	}
	saved, err := in.directory.SaveTenant(ctx, spec)
	if err != nil {
		return err
	}
	applied := appliedTenant{Slug: saved.Slug, ID: saved.ID, SCIM: in.config.PublicURL + "/t/" + saved.Slug + "/scim/v2"}
	if t.Branding != nil {
		look, err := t.Branding.branding()
		if err == nil {
			err = in.directory.SetBranding(ctx, saved.ID, look)
		}
		if err != nil {
			return err
		}
	}
	if err := errors.Join(in.applySchemas(ctx, saved.ID, t.SCIM), in.applyProviders(ctx, saved.ID, t.Providers)); err != nil {
		return err
	}
	for _, c := range t.Connections {
		made, err := in.applyConnection(ctx, saved.ID, c)
		if err != nil {
			return fmt.Errorf("connections[%s]: %w", c.Name, plain(err))
		}
		applied.Connections = append(applied.Connections, appliedConnection{Name: c.Name, Token: made.Reveal()})
	}
	for _, s := range t.EventStreams {
		made, err := in.applyEventStream(ctx, saved.ID, s)
		if err != nil {
			return fmt.Errorf("event_streams[%s]: %w", s.Name, plain(err))
		}
		applied.EventStreams = append(applied.EventStreams, appliedConnection{Name: s.Name, Token: made.Reveal()})
	}
	for _, target := range t.Targets {
		if err := in.outbound.Save(ctx, saved.ID, target.settings()); err != nil {
			return fmt.Errorf("provisioning_targets[%s]: %w", target.Name, plain(err))
		}
	}
	for _, m := range t.GroupRoles {
		if err := in.directory.PutGroupRole(ctx, saved.ID, directory.GroupRoleSpec{Group: m.Group, Role: m.Role, Priority: m.Priority}); err != nil {
			return fmt.Errorf("group_roles[%s]: %w", m.Group, plain(err))
		}
	}
	if t.DefaultRole != nil {
		if err := in.directory.SetDefaultRole(ctx, saved.ID, *t.DefaultRole); err != nil {
			return err
		}
	}
	report.Tenants = append(report.Tenants, applied)
	return nil
}

func (in *instance) applyProviders(ctx context.Context, tenant id.Tenant, providers []applyProvider) error {
	for i := range providers {
		if _, err := in.upstream.Put(ctx, tenant, providers[i].settings()); err != nil {
			return fmt.Errorf("identity_providers[%s]: %w", providers[i].Name, plain(err))
		}
	}
	return nil
}

func (in *instance) applyConnection(ctx context.Context, tenant id.Tenant, c applyConnection) (made secret.Text, err error) {
	spec := directory.ConnectionSpec{
		Name: c.Name, Profile: directory.ConnectionProfile(c.Profile), Token: c.Token.Text,
		ByApplication: c.Application != nil && *c.Application != "", // which comes later
	}
	if c.RateLimit != nil {
		spec.Settings.RateLimit = new(directory.RateLimit(*c.RateLimit))
	}
	if c.Guard != nil {
		spec.Settings.Guard = &directory.GuardLimits{People: c.Guard.People, Percent: c.Guard.Percent}
		if c.Guard.Window != "" {
			if spec.Settings.Guard.Window, err = time.ParseDuration(c.Guard.Window); err != nil {
				return secret.Text{}, fault.Field(fault.Invalid, "guard.window", "%q is no duration such as 1h or 90m", c.Guard.Window)
			}
		}
	}
	if c.Deprovisioning != "" {
		spec.Settings.Deprovisioning = new(directory.Deprovisioning(c.Deprovisioning))
	}
	if c.Mapping != nil {
		mappings := make([]directory.AttributeMapping, len(c.Mapping))
		for i, m := range c.Mapping {
			mappings[i] = directory.AttributeMapping(m)
		}
		spec.Settings.Mappings = &mappings
	}
	return in.directory.SaveConnection(ctx, tenant, spec)
}

func (in *instance) applyEventStream(ctx context.Context, tenant id.Tenant, s applyEventStream) (made secret.Text, err error) {
	settings := events.Settings{Name: &s.Name, Endpoint: &s.EndpointURL}
	if !s.Authorization.Empty() {
		settings.Authorization = &s.Authorization.Text
	}
	if s.Format != "" {
		settings.Format = new(events.Format(s.Format))
	}
	if s.Audience != nil {
		settings.Audience = &s.Audience
	}
	if s.Requested != nil {
		settings.Requested = &s.Requested
	}
	if s.Status != "" {
		settings.Status = new(events.Status(s.Status))
	}
	return in.events.Save(ctx, tenant, events.Method(s.Method), settings, s.Token.Text)
}

func (t *applyTarget) settings() outbound.Settings {
	s := outbound.Settings{Name: &t.Name, BaseURL: &t.BaseURL}
	if !t.Secret.Empty() {
		s.Secret = &t.Secret.Text
	}
	if a := t.Auth; a != nil {
		s.Auth = &outbound.Auth{Method: outbound.AuthMethod(a.Method), TokenURL: a.TokenURL, ClientID: a.ClientID, Scope: a.Scope}
	}
	if p := t.People; p != nil {
		s.People = &outbound.People{Scope: outbound.PeopleScope(p.Scope), Groups: p.Groups, Roles: p.Roles}
	}
	if g := t.Groups; g != nil {
		s.Groups = &outbound.Groups{Scope: outbound.GroupScope(g.Scope), Groups: g.Groups}
	}
	if a := t.Attributes; a != nil {
		s.Attributes = &outbound.Attributes{Include: a.Include, Exclude: a.Exclude, ExternalID: outbound.ExternalID(a.ExternalID)}
	}
	if t.OnRemoval != "" {
		s.OnRemoval = new(outbound.Removal(t.OnRemoval))
	}
	if t.RunEvery != nil {
		s.RunEvery = new(time.Duration(*t.RunEvery) * time.Second)
	}
	if t.Status != "" {
		s.Status = new(outbound.Status(t.Status))
	}
	return s
}

// applyConnectionApplications ties connections to their applications, once these
// are there.
func (in *instance) applyConnectionApplications(ctx context.Context, t applyTenant) error {
	for _, c := range t.Connections {
		if c.Application == nil {
			continue
		}
		tenant, err := in.tenant(ctx, t.Slug)
		if err != nil {
			return err
		}
		if err := in.directory.BindConnection(ctx, tenant, c.Name, *c.Application); err != nil {
			return fmt.Errorf("connections[%s]: %w", c.Name, plain(err))
		}
	}
	return nil
}

func (in *instance) applyRelations(ctx context.Context, t applyTenant) error {
	if len(t.Relations) == 0 {
		return nil
	}
	tenant, err := in.tenant(ctx, t.Slug)
	if err != nil {
		return err
	}
	for _, relation := range slices.Sorted(maps.Keys(t.Relations)) {
		edge := directory.Edge{Tenant: tenant, Relation: relation, Parent: t.Relations[relation], OverQuota: t.OverQuota}
		if err := in.directory.Link(ctx, edge); err != nil {
			return err
		}
	}
	return nil
}

// tenant returns the id of a tenant that the file names.
func (in *instance) tenant(ctx context.Context, name string) (id.Tenant, error) {
	t, err := in.directory.Tenant(ctx, name)
	if errors.Is(err, fault.NotFound) {
		return "", fault.Field(fault.Invalid, "tenant", "there is no tenant %q", name)
	}
	if err != nil {
		return "", err
	}
	return t.ID, nil
}

func (in *instance) applyUser(ctx context.Context, u applyUser, report *applyReport) error {
	_, err := in.store.UserByEmail(ctx, u.Email)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	welcome := err != nil && u.Password.Empty() && u.PasswordHash.Empty()
	saved, err := in.directory.SaveUser(ctx, directory.UserSpec{
		Email: u.Email, Name: directory.Name{Given: u.Name.Given, Family: u.Name.Family, Display: u.Name.Display},
		Locale: u.Locale, Operator: u.Operator,
	})
	if err != nil {
		return err
	}
	if !u.Password.Empty() {
		if err := in.authn.SetPassword(ctx, saved.ID, u.Password.Text); err != nil {
			return err
		}
	}
	if !u.PasswordHash.Empty() {
		if err := in.authn.ImportPassword(ctx, saved.ID, u.PasswordHash.Reveal()); err != nil {
			return err
		}
	}
	if !u.TOTP.Empty() {
		if err := in.authn.SetTOTP(ctx, saved.ID, u.TOTP.Text); err != nil {
			return err
		}
	}
	for _, m := range u.Memberships {
		tenant, err := in.tenant(ctx, m.Tenant)
		if err != nil {
			return fmt.Errorf("memberships: %w", plain(err))
		}
		joined, err := in.directory.SaveMembership(ctx, tenant, saved, directory.MembershipSpec{Roles: m.Roles, Status: directory.Status(m.Status)})
		if err == nil && welcome {
			welcome = false // one letter is enough
			err = in.directory.Welcome(ctx, joined)
		}
		if err != nil {
			return fmt.Errorf("memberships[%s]: %w", m.Tenant, plain(err))
		}
	}
	report.Users = append(report.Users, appliedUser{Email: saved.Email, ID: saved.ID})
	return nil
}

func (in *instance) applyApplication(ctx context.Context, a applyApplication, report *applyReport) error {
	var owner id.Tenant
	if a.Tenant != "" {
		var err error
		if owner, err = in.tenant(ctx, a.Tenant); err != nil {
			return err
		}
		if err := in.directory.CheckServiceRoles(ctx, owner, a.Roles); err != nil {
			return err
		}
	}
	security, err := a.security()
	if err != nil {
		return err
	}
	overlap, err := a.overlap()
	if err != nil {
		return err
	}
	applied, err := in.oidc.PutApplication(ctx, oidc.ApplicationSpec{
		Security: security, SecretOverlap: overlap,
		ClientID: a.ClientID, Name: a.Name, Type: oidc.ApplicationType(a.Type), Tenant: owner, Roles: a.Roles, Secret: a.Secret.Text,
		RedirectURIs: a.RedirectURIs, PostLogoutRedirectURIs: a.PostLogoutRedirectURIs, BackchannelLogoutURI: a.BackchannelLogoutURI,
		AccessToken: oidc.AccessTokenFormat(a.AccessToken), AccessTokenAlg: oidc.Alg(a.AccessTokenAlg), IDTokenAlg: oidc.Alg(a.IDTokenAlg), API: a.API,
		ThirdParty: a.ThirdParty, WithoutPKCE: a.RequirePKCE != nil && !*a.RequirePKCE,
		SubjectType: oidc.SubjectType(a.SubjectType), Sector: a.Sector,
	})
	if err != nil {
		return err
	}
	report.Applications = append(report.Applications, appliedApplication{ClientID: a.ClientID, Secret: applied.Secret.Reveal()})
	return nil
}

// security is how the application proves itself.
func (a *applyApplication) security() (oidc.Security, error) {
	s := oidc.Security{
		AuthMethod: oidc.AuthMethod(a.AuthMethod), AuthAlg: oidc.Alg(a.AuthAlg), JWKSURI: a.JWKSURI,
		RequirePushed: a.RequirePushed, BoundTokens: a.BoundTokens, DPoPNonce: a.DPoPNonce, Resources: a.Resources,
		Profile: oidc.Profile(a.Profile), RequireSigned: a.RequireSigned, RequestAlg: oidc.Alg(a.RequestAlg),
		DetailTypes: a.DetailTypes,
	}
	if a.JWKS == nil {
		return s, nil
	}
	text, err := json.Marshal(a.JWKS)
	if err != nil {
		return s, fault.Field(fault.Invalid, "jwks", "it is no JSON Web Key Set")
	}
	s.JWKS = string(text)
	return s, nil
}

// overlap is how long the secrets before the one of the file work.
func (a *applyApplication) overlap() (time.Duration, error) {
	if a.SecretOverlap == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(a.SecretOverlap)
	if err != nil {
		return 0, fault.Field(fault.Invalid, "secret_overlap", "%q is no duration such as 24h or 90m", a.SecretOverlap)
	}
	return d, nil
}

func (in *instance) applyApplicationToken(ctx context.Context, t applyApplicationToken, report *applyReport) error {
	var tenant id.Tenant
	if t.Tenant != "" {
		var err error
		if tenant, err = in.tenant(ctx, t.Tenant); err != nil {
			return err
		}
	}
	creator, err := in.store.UserByEmail(ctx, t.Creator)
	if errors.Is(err, fault.NotFound) {
		return fault.Field(fault.Invalid, "creator", "there is no user %q", t.Creator)
	} else if err != nil {
		return err
	}
	token := authn.ApplicationToken{Tenant: tenant, Name: t.Name, Description: t.Description, Creator: creator.ID, Permissions: t.Permissions}
	if t.Expires != "" {
		if token.Expires, err = time.Parse(time.RFC3339, t.Expires); err != nil {
			return fault.Field(fault.Invalid, "expires", "%q is no time such as 2027-01-31T00:00:00Z", t.Expires)
		}
	}
	for _, text := range t.CIDRs {
		network, err := authn.ParseNetwork(text)
		if err != nil {
			return err
		}
		token.Networks = append(token.Networks, network)
	}
	made, err := in.authn.PutApplicationToken(ctx, token, t.Token.Text)
	if err != nil {
		return err
	}
	report.ApplicationTokens = append(report.ApplicationTokens, appliedToken{Name: t.Name, Token: made.Reveal()})
	return nil
}

// print shows what was applied, with the secrets that were made.
func (r *applyReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	var text []byte
	line := func(format string, args ...any) { text = fmt.Appendf(text, format+"\n", args...) }
	made := func(what, name, value string) {
		if value != "" {
			line("  %s of %s, shown this once: %s", what, name, value)
		}
	}
	line("applied %d tenants, %d users, %d applications, %d application tokens", len(r.Tenants), len(r.Users), len(r.Applications), len(r.ApplicationTokens))
	for _, t := range r.Tenants {
		line("tenant %s: SCIM at %s", t.Slug, t.SCIM)
		for _, c := range t.Connections {
			made("token", "connection "+c.Name, c.Token)
		}
	}
	for _, a := range r.Applications {
		made("secret", "application "+a.ClientID, a.Secret)
	}
	for _, t := range r.ApplicationTokens {
		made("token", "application token "+t.Name, t.Token)
	}
	_, err := w.Write(text)
	return err
}
