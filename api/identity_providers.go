package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/upstream"
)

// IdentityProviderBody is a provider as it is shown.
type IdentityProviderBody struct {
	ID          id.IdentityProvider `json:"id"`
	Name        string              `json:"name"`
	Issuer      string              `json:"issuer"`
	ClientID    string              `json:"client_id"`
	HasSecret   bool                `json:"has_secret"`
	RedirectURI string              `json:"redirect_uri" doc:"To be registered there"`
	Scopes      []string            `json:"scopes,omitempty" doc:"Beside openid, email and profile"`
	Domains     []string            `json:"domains" doc:"Whose people are led there"`
	TrustEmail  bool                `json:"trust_email"`
	TrustMFA    bool                `json:"trust_mfa"`
	MFAClasses  []string            `json:"mfa_classes,omitempty"`
	JustInTime  bool                `json:"just_in_time"`
	Role        string              `json:"role,omitempty"`
	RoleClaim   string              `json:"role_claim,omitempty"`
	RoleValues  map[string]string   `json:"role_values,omitempty"`
	Enabled     bool                `json:"enabled"`
	CreatedAt   time.Time           `json:"created_at"`
	ModifiedAt  time.Time           `json:"modified_at"`
}

func (h *Handler) identityProviderBody(p *upstream.Provider) IdentityProviderBody {
	return IdentityProviderBody{
		ID: p.ID, Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, HasSecret: p.Secret != nil, RedirectURI: h.Upstream.RedirectURI(p.ID),
		Scopes: p.Scopes, Domains: append([]string{}, p.Domains...), TrustEmail: p.TrustEmail, TrustMFA: p.TrustMFA, MFAClasses: p.MFAClasses,
		JustInTime: p.JustInTime, Role: p.Role, RoleClaim: p.RoleClaim, RoleValues: p.RoleValues, Enabled: p.Enabled, CreatedAt: p.Created, ModifiedAt: p.Modified,
	}
}

// IdentityProviderAddress is the place of a provider in a path.
type IdentityProviderAddress struct {
	Provider string `path:"identity_provider" maxLength:"36" doc:"The provider's id"`
}

func (a IdentityProviderAddress) id() (id.IdentityProvider, error) {
	provider, err := id.Parse[id.IdentityProvider](a.Provider)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no such identity provider")
	}
	return provider, nil
}

// IdentityProviderRules are what a tenant lets a provider say.
type IdentityProviderRules struct {
	Secret     *string            `json:"client_secret,omitempty" maxLength:"4000" doc:"It is not shown again. Empty: the application there is a public one"`
	Scopes     *[]string          `json:"scopes,omitempty" maxItems:"100" doc:"Beside openid, email and profile"`
	Domains    *[]string          `json:"domains,omitempty" maxItems:"100" doc:"Those of the tenant, verified by the operator's word, whose people are led there and linked when they first come"`
	TrustEmail *bool              `json:"trust_email,omitempty" doc:"Addresses in domains need no email_verified: the provider is the authority for them"`
	TrustMFA   *bool              `json:"trust_mfa,omitempty" doc:"Two factors there count for two here, where the provider says so: amr has mfa, or acr is one of mfa_classes"`
	MFAClasses *[]string          `json:"mfa_classes,omitempty" maxItems:"100"`
	JustInTime *bool              `json:"just_in_time,omitempty" doc:"Who has an address in domains, and is no member, becomes one"`
	Role       *string            `json:"role,omitempty" maxLength:"200" doc:"That they begin with; left out: none"`
	RoleClaim  *string            `json:"role_claim,omitempty" maxLength:"100" doc:"A claim that gives them roles by role_values in place of role"`
	RoleValues *map[string]string `json:"role_values,omitempty" doc:"Role by value of the claim"`
	Enabled    *bool              `json:"enabled,omitempty" doc:"Default: true. Disabling it ends the sessions that began there"`
}

func (r *IdentityProviderRules) settings(name, issuer, clientID *string) upstream.Settings {
	s := upstream.Settings{
		Name: name, Issuer: issuer, ClientID: clientID, Scopes: r.Scopes, Domains: r.Domains, TrustEmail: r.TrustEmail, TrustMFA: r.TrustMFA,
		MFAClasses: r.MFAClasses, JustInTime: r.JustInTime, Role: r.Role, RoleClaim: r.RoleClaim, RoleValues: r.RoleValues, Enabled: r.Enabled,
	}
	if r.Secret != nil {
		s.Secret = new(secret.NewText(*r.Secret))
	}
	return s
}

type (
	shownIdentityProvider  struct{ Body IdentityProviderBody }
	shownIdentityProviders struct {
		Body list[IdentityProviderBody]
	}
	newIdentityProvider struct {
		Body struct {
			Name     string `json:"name" minLength:"1" maxLength:"100" doc:"Unique in the tenant; people read it on the button"`
			Issuer   string `json:"issuer" maxLength:"1000" doc:"https; /.well-known/openid-configuration is behind it"`
			ClientID string `json:"client_id" minLength:"1" maxLength:"1000"`
			IdentityProviderRules
		}
	}
	changedIdentityProvider struct {
		IdentityProviderAddress
		Body struct {
			Name     *string `json:"name,omitempty" minLength:"1" maxLength:"100"`
			Issuer   *string `json:"issuer,omitempty" maxLength:"1000" doc:"With the secret, which is bound to it. Who was linked by the issuer before is not any more"`
			ClientID *string `json:"client_id,omitempty" minLength:"1" maxLength:"1000"`
			IdentityProviderRules
		}
	}
	testedIdentityProvider struct {
		Body struct {
			OK                    bool     `json:"ok"`
			Problem               string   `json:"problem,omitempty" doc:"Why nobody can sign in by it"`
			AuthorizationEndpoint string   `json:"authorization_endpoint,omitempty"`
			TokenEndpoint         string   `json:"token_endpoint,omitempty"`
			PKCE                  bool     `json:"pkce,omitempty" doc:"It says that it takes S256; it is sent in any case"`
			Algorithms            []string `json:"algorithms,omitempty"`
			Keys                  int      `json:"keys,omitempty"`
		}
	}
)

// IdentityLinkBody is an account at a provider that a member signs in with.
type IdentityLinkBody struct {
	ID           id.IdentityLink     `json:"id"`
	Provider     id.IdentityProvider `json:"identity_provider"`
	ProviderName string              `json:"identity_provider_name"`
	Issuer       string              `json:"issuer"`
	Subject      string              `json:"subject"`
	Email        string              `json:"email,omitempty" doc:"As the provider last said"`
	CreatedAt    time.Time           `json:"created_at"`
	UsedAt       time.Time           `json:"used_at"`
}

type shownIdentityLinks struct{ Body list[IdentityLinkBody] }

// identityProviders registers what is done to the providers that people of a tenant
// sign in by.
func (o *operations) identityProviders() {
	h := o.handler
	about := operationsOf("/identity-providers", "Identity providers")
	inTenant(o, about("listIdentityProviders", http.MethodGet, "", "List identity providers", "By name.", 0),
		func(ctx context.Context, t *directory.Tenant, _ *struct{}) (*shownIdentityProviders, error) {
			all, err := h.Upstream.Providers(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			return &shownIdentityProviders{listOf(all, h.identityProviderBody)}, nil
		})
	inTenant(o, about("createIdentityProvider", http.MethodPost, "", "Create an identity provider",
		"What is left out is off. Nothing is asked of the provider yet: test it.", http.StatusCreated),
		func(ctx context.Context, t *directory.Tenant, in *newIdentityProvider) (*shownIdentityProvider, error) {
			b := &in.Body
			made, err := h.Upstream.Create(ctx, t.ID, b.settings(&b.Name, &b.Issuer, &b.ClientID))
			if err != nil {
				return nil, err
			}
			return &shownIdentityProvider{h.identityProviderBody(made)}, nil
		})
	ofProvider(o, about("getIdentityProvider", http.MethodGet, "/{identity_provider}", "Get an identity provider", "", 0),
		func(ctx context.Context, t *directory.Tenant, provider id.IdentityProvider, _ *IdentityProviderAddress) (*shownIdentityProvider, error) {
			found, err := h.Upstream.Provider(ctx, t.ID, provider)
			if err != nil {
				return nil, err
			}
			return &shownIdentityProvider{h.identityProviderBody(found)}, nil
		})
	ofProvider(o, about("changeIdentityProvider", http.MethodPatch, "/{identity_provider}", "Change an identity provider", "What is left out stays as it is.", 0),
		func(ctx context.Context, t *directory.Tenant, provider id.IdentityProvider, in *changedIdentityProvider) (*shownIdentityProvider, error) {
			b := &in.Body
			changed, err := h.Upstream.Change(ctx, t.ID, provider, b.settings(b.Name, b.Issuer, b.ClientID))
			if err != nil {
				return nil, err
			}
			return &shownIdentityProvider{h.identityProviderBody(changed)}, nil
		})
	ofProvider(o, about("deleteIdentityProvider", http.MethodDelete, "/{identity_provider}", "Delete an identity provider",
		"With its links, and the sessions that began there.", http.StatusNoContent),
		func(ctx context.Context, t *directory.Tenant, provider id.IdentityProvider, _ *IdentityProviderAddress) (*struct{}, error) {
			return nil, h.Upstream.Delete(ctx, t.ID, provider)
		})
	ofProvider(o, about("testIdentityProvider", http.MethodPost, "/{identity_provider}/test", "Read what an identity provider says of itself",
		"Its discovery document and its keys, as they are now.", 0),
		func(ctx context.Context, t *directory.Tenant, provider id.IdentityProvider, _ *IdentityProviderAddress) (*testedIdentityProvider, error) {
			document, problem, err := h.Upstream.Test(ctx, t.ID, provider)
			if err != nil {
				return nil, err
			}
			tested := &testedIdentityProvider{}
			tested.Body.OK, tested.Body.Problem = document != nil, problem
			if d := document; d != nil {
				tested.Body.AuthorizationEndpoint, tested.Body.TokenEndpoint = d.AuthorizationEndpoint, d.TokenEndpoint
				tested.Body.PKCE, tested.Body.Algorithms, tested.Body.Keys = d.PKCE, d.Algorithms, d.Keys
			}
			return tested, nil
		})
	o.identityLinks()
}

// ofProvider registers an operation about one provider.
func ofProvider[I interface {
	id() (id.IdentityProvider, error)
}, O any](o *operations, op operation, do func(ctx context.Context, t *directory.Tenant, provider id.IdentityProvider, in *I) (*O, error)) {
	inTenant(o, op, func(ctx context.Context, t *directory.Tenant, in *I) (*O, error) {
		provider, err := (*in).id()
		if err != nil {
			return nil, err
		}
		return do(ctx, t, provider, in)
	})
}

// identityLinks registers what is done to the accounts that a member signs in with.
func (o *operations) identityLinks() {
	h := o.handler
	const tag = "Identity providers"
	inTenant(o, operation{ID: "listIdentityLinks", Method: http.MethodGet, Path: "/members/{member}/identity-links", Tag: tag, Summary: "List the accounts at identity providers that a member signs in with"},
		func(ctx context.Context, t *directory.Tenant, in *memberPath) (*shownIdentityLinks, error) {
			links, err := h.Upstream.LinksOf(ctx, t.ID, id.Membership(in.Member))
			if err != nil {
				return nil, err
			}
			shown := &shownIdentityLinks{list[IdentityLinkBody]{Items: []IdentityLinkBody{}}}
			for i := range links {
				l := &links[i]
				shown.Body.Items = append(shown.Body.Items, IdentityLinkBody{l.ID, l.Provider, l.ProviderName, l.Issuer, l.Subject, l.Email, l.Created, l.Used})
			}
			return shown, nil
		})
	inTenant(o, operation{
		ID: "deleteIdentityLink", Method: http.MethodDelete, Path: "/members/{member}/identity-links/{link}", Tag: tag, Summary: "Have a member sign in no more with an account",
		About: "They are linked again when they next come with an address that the provider vouches for.", Status: http.StatusNoContent,
	},
		func(ctx context.Context, t *directory.Tenant, in *struct {
			Member string `path:"member" doc:"The member's id"`
			Link   string `path:"link" maxLength:"36" doc:"The link's id"`
		},
		) (*struct{}, error) {
			link, err := id.Parse[id.IdentityLink](in.Link)
			if err != nil {
				return nil, fault.New(fault.NotFound, "there is no such link")
			}
			return nil, h.Upstream.UnlinkOf(ctx, t.ID, id.Membership(in.Member), link)
		})
}
