package upstream

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// manage runs change in a transaction that has locked the tenant, if the caller
// decides how people sign in there.
func (u *Upstream) manage(ctx context.Context, tenant id.Tenant, change func(ctx context.Context) error) error {
	return u.Store.InTx(ctx, func(ctx context.Context) error {
		if err := u.Store.LockTenant(ctx, tenant); err != nil {
			return err
		}
		if err := u.Directory.MaySetSignIn(ctx, tenant); err != nil {
			return err
		}
		return change(ctx)
	})
}

func (u *Upstream) record(ctx context.Context, p *Provider, action string, more map[string]any) error {
	data := map[string]any{"name": p.Name, "issuer": p.Issuer, "client_id": p.ClientID, "enabled": p.Enabled, "domains": p.Domains}
	maps.Copy(data, more)
	return u.Store.AppendEvent(ctx, audit.New(ctx, u.now(), p.Tenant, action, "identity_provider", string(p.ID), data))
}

func noProvider(err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "there is no such identity provider")
	}
	return err
}

// Providers returns the providers of a tenant by name. It fails with fault.Denied
// for who does not decide how people sign in.
func (u *Upstream) Providers(ctx context.Context, tenant id.Tenant) ([]Provider, error) {
	if err := u.Directory.MaySetSignIn(ctx, tenant); err != nil {
		return nil, err
	}
	return u.Store.IdentityProviders(ctx, tenant)
}

// Provider returns a provider. It fails as Providers does, and with fault.NotFound.
func (u *Upstream) Provider(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) (*Provider, error) {
	if err := u.Directory.MaySetSignIn(ctx, tenant); err != nil {
		return nil, err
	}
	p, err := u.Store.IdentityProvider(ctx, tenant, provider)
	return p, noProvider(err)
}

// Create makes a provider; what the settings leave out is off. It fails as
// Providers does, with fault.Invalid and the field, and with fault.Conflict on name
// and where there are too many.
func (u *Upstream) Create(ctx context.Context, tenant id.Tenant, s Settings) (*Provider, error) {
	now := u.now()
	p := &Provider{Tenant: tenant, ID: id.New[id.IdentityProvider](), Enabled: true, Created: now, Modified: now}
	err := u.manage(ctx, tenant, func(ctx context.Context) error {
		all, err := u.Store.IdentityProviders(ctx, tenant)
		if err != nil {
			return err
		}
		if len(all) >= maxProviders {
			return fault.New(fault.Conflict, "the tenant has %d identity providers: delete some first", len(all)).WithCode("too_many")
		}
		if err := u.bring(ctx, p, s); err != nil {
			return err
		}
		if err := u.Store.CreateIdentityProvider(ctx, p); err != nil {
			return err
		}
		return u.record(ctx, p, "identity_provider.create", nil)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Change brings a provider to the settings. One that is disabled ends the sessions
// that began there. It fails as Create does, and with fault.NotFound.
func (u *Upstream) Change(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider, s Settings) (*Provider, error) {
	var p *Provider
	err := u.manage(ctx, tenant, func(ctx context.Context) error {
		ends := false
		var err error
		p, err = u.Store.UpdateIdentityProvider(ctx, tenant, provider, func(p *Provider) error {
			before := *p
			if err := u.bring(ctx, p, s); err != nil {
				return err
			}
			ends = before.Enabled && !p.Enabled || before.Issuer != p.Issuer
			p.Modified = u.now()
			return nil
		})
		if err != nil {
			return noProvider(err)
		}
		if ends {
			if err := u.Sessions.EndVia(ctx, tenant, provider); err != nil {
				return err
			}
		}
		return u.record(ctx, p, "identity_provider.change", map[string]any{"secret": s.Secret != nil, "just_in_time": p.JustInTime, "trust_mfa": p.TrustMFA, "trust_email": p.TrustEmail})
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Delete removes a provider with its links, and ends the sessions that began
// there. It fails as Provider does.
func (u *Upstream) Delete(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) error {
	return u.manage(ctx, tenant, func(ctx context.Context) error {
		p, err := u.Store.IdentityProvider(ctx, tenant, provider)
		if err != nil {
			return noProvider(err)
		}
		if err := u.Sessions.EndVia(ctx, tenant, provider); err != nil {
			return err
		}
		if err := u.Store.DeleteIdentityProvider(ctx, tenant, provider); err != nil {
			return err
		}
		return u.record(ctx, p, "identity_provider.delete", nil)
	})
}

// Put makes the tenant have a provider of that name as the settings say.
func (u *Upstream) Put(ctx context.Context, tenant id.Tenant, s Settings) (*Provider, error) {
	var p *Provider
	err := u.Store.InTx(ctx, func(ctx context.Context) error {
		all, err := u.Providers(ctx, tenant)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(p Provider) bool { return s.Name != nil && p.Name == *s.Name })
		if i < 0 {
			p, err = u.Create(ctx, tenant, s)
			return err
		}
		if u.stands(&all[i], s) {
			p = &all[i]
			return nil
		}
		p, err = u.Change(ctx, tenant, all[i].ID, s)
		return err
	})
	return p, err
}

// stands reports whether the provider is as the settings say already.
func (u *Upstream) stands(p *Provider, s Settings) bool {
	next := *p
	if next.apply(s, u.Private) != nil || !reflect.DeepEqual(*p, next) {
		return false
	}
	if s.Secret == nil {
		return true
	}
	text, err := u.secretOf(p)
	return err == nil && text.Equal(*s.Secret)
}

// bring applies settings, checks what they name and seals the secret.
func (u *Upstream) bring(ctx context.Context, p *Provider, s Settings) error {
	before := *p
	if err := p.apply(s, u.Private); err != nil {
		return err
	}
	t, err := u.Store.Tenant(ctx, p.Tenant)
	if err != nil {
		return err
	}
	if s.Domains != nil {
		for _, domain := range p.Domains {
			if !slices.Contains(t.Domains, domain) {
				return fault.Field(fault.Invalid, "domains", "the tenant has not verified %.100q: that is done by the operator's word", domain)
			}
		}
	}
	if s.Role != nil || s.RoleValues != nil {
		if err := u.Directory.MayBegin(ctx, p.Tenant, p.beginnings()); err != nil {
			return err
		}
	}
	if s.Secret == nil {
		if before.Issuer != p.Issuer && p.Secret != nil {
			return fault.Field(fault.Invalid, "client_secret", "it is bound to the issuer: give it anew with it")
		}
		return nil
	}
	text := s.Secret.Reveal()
	if text == "" {
		p.Secret = nil
		return nil
	}
	if len(text) > maxSecret || strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) }) {
		return fault.Field(fault.Invalid, "client_secret", "must be text of ASCII of at most %d characters", maxSecret)
	}
	p.Secret, err = u.Keyring.Seal([]byte(text), p.place())
	return err
}

// Test reads what a provider says of itself: its discovery document and its keys. It
// fails as Provider does; problem says why the provider can't be signed in by.
func (u *Upstream) Test(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) (document *Document, problem string, err error) {
	p, err := u.Provider(ctx, tenant, provider)
	if err != nil {
		return nil, "", err
	}
	document, err = u.Party.Document(ctx, p.Issuer)
	if f := fault.As(err); f.Code == CodeUnreachable {
		return nil, f.Detail, nil
	}
	return document, "", err
}
