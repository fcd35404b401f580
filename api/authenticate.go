package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// authenticate puts the caller into the request's context, as principal and as
// actor of the audit trail, or ends the request.
func (h *Handler) authenticate(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	p, err := h.principal(c)
	if err != nil {
		h.fail(c, err)
		return
	}
	ctx := audit.WithActor(authz.NewContext(c.Request.Context(), p), actorOf(p))
	ctx = context.WithValue(ctx, peerKey{}, peer(c))
	c.Request = c.Request.WithContext(ctx)
}

// actorOf is who the audit trail says acts.
func actorOf(p authz.Principal) audit.Actor {
	switch p.Kind {
	case authz.AppPrincipal:
		return audit.Actor{Kind: audit.ActorApplication, ID: p.Application}
	case authz.TokenPrincipal:
		return audit.Actor{Kind: audit.ActorToken, ID: string(p.ApplicationToken)}
	case authz.OperatorPrincipal:
		return audit.Actor{Kind: audit.ActorOperator, ID: string(p.User)}
	case authz.Anonymous, authz.UserPrincipal, authz.ConnectionPrincipal:
	}
	return audit.Actor{Kind: audit.ActorUser, ID: string(p.User)}
}

// principal returns who sends the request. It fails with fault.Unauthenticated
// in the same way for all reasons, but that RFC 6750 §3.1 tells one who sent no
// token from one whose token is refused, and with insufficient_scope.
func (h *Handler) principal(c *gin.Context) (authz.Principal, error) {
	refused := fault.New(fault.Unauthenticated, "an application token, an access token for the API or client credentials are needed in the header Authorization")
	ctx := c.Request.Context()
	if user, password, basic := c.Request.BasicAuth(); basic {
		p, err := h.basic(ctx, user, password)
		return p, hide(err, refused)
	}
	token := presented(c.Request)
	if token.Token.Empty() {
		return authz.Principal{}, refused
	}
	p, err := h.bearer(ctx, token, peer(c))
	if fault.As(err).Code == oidc.UseDPoPNonce {
		c.Header("DPoP-Nonce", h.OIDC.DPoPNonce())
	}
	return p, hide(err, refused.WithCode(oidc.InvalidToken))
}

// hide puts refused in the place of what says why somebody is not known.
func hide(err error, refused *fault.Error) error {
	if f := fault.As(err); err != nil && f.Kind != fault.Internal && !slices.Contains([]string{oidc.InsufficientScope, oidc.InvalidDPoPProof, oidc.UseDPoPNonce, oidc.InsufficientUserAuthentication}, f.Code) {
		return refused
	}
	return err
}

// basic returns the application with the client credentials. Both are
// form-encoded within the header (RFC 6749 §2.3.1).
func (h *Handler) basic(ctx context.Context, user, password string) (authz.Principal, error) {
	clientID, badID := url.QueryUnescape(user)
	clientSecret, badSecret := url.QueryUnescape(password)
	if err := errors.Join(badID, badSecret); err != nil {
		return authz.Principal{}, &fault.Error{Kind: fault.Unauthenticated, Err: err}
	}
	a, err := h.OIDC.Authenticate(ctx, oidc.ClientProof{Method: oidc.AuthSecretBasic, ClientID: clientID, Secret: secret.NewText(clientSecret)})
	if err != nil {
		return authz.Principal{}, err
	}
	if a.Registration != nil { // it signs people in, and is nobody itself
		return authz.Principal{}, &fault.Error{Kind: fault.Unauthenticated}
	}
	return a.Principal(), nil
}

// bearer returns who has the token. One of the form that this server gives to
// application tokens is nothing else; any other may be an application token
// whose value the operator chose. Under the scheme DPoP there are access tokens only.
func (h *Handler) bearer(ctx context.Context, token oidc.Presented, from netip.Addr) (authz.Principal, error) {
	if token.Bound || !authn.LooksLikeApplicationToken(token.Token) {
		p, err := h.OIDC.Principal(ctx, token)
		if token.Bound || fault.As(err).Code != oidc.InvalidToken {
			return p, err
		}
	}
	t, err := h.Authn.ApplicationToken(ctx, token.Token, from)
	if err != nil {
		return authz.Principal{}, err
	}
	return t.Principal(), nil
}

// presented returns the token of the header (RFC 6750 §2.1, RFC 9449 §7.1), or the
// empty one.
func presented(r *http.Request) oidc.Presented {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	bound := strings.EqualFold(scheme, oidc.TokenTypeDPoP)
	if !bound && !strings.EqualFold(scheme, oidc.TokenTypeBearer) {
		return oidc.Presented{}
	}
	return oidc.Presented{
		Token: secret.NewText(strings.TrimSpace(token)), Bound: bound,
		Possession: oidc.Possession{Proofs: r.Header.Values("DPoP"), Method: r.Method, Path: r.URL.EscapedPath()},
	}
}

// peer is the address that the request comes from; the zero one is in no network.
func peer(c *gin.Context) netip.Addr {
	address, err := netip.ParseAddr(c.ClientIP())
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap()
}

// peerKey is the context key of peer.
type peerKey struct{}

// peerOf returns the address that the request of ctx comes from.
func peerOf(ctx context.Context) netip.Addr {
	from, _ := ctx.Value(peerKey{}).(netip.Addr)
	return from
}

// tenant returns the tenant that an address names by slug or id. It fails with
// fault.NotFound in the same way for one that is beyond the caller's reach and
// for one that does not exist, and with fault.Denied where the tenant is not used
// from where the request comes.
func (h *Handler) tenant(ctx context.Context, name string) (*directory.Tenant, error) {
	t, err := h.reached(ctx, name)
	if err == nil && authz.FromContext(ctx).Kind != authz.OperatorPrincipal && !t.Policy.Admits(peerOf(ctx)) {
		return nil, fault.New(fault.Denied, "the tenant is not used from this network").WithCode("network")
	}
	return t, err
}

func (h *Handler) reached(ctx context.Context, name string) (*directory.Tenant, error) {
	none := fault.New(fault.NotFound, "there is no such tenant")
	p := authz.FromContext(ctx)
	wanted := name
	if p.Kind == authz.UserPrincipal || p.Kind == authz.TokenPrincipal { // bound to their tenant: that others exist they can't even tell by the time it takes
		wanted = string(p.Tenant)
	}
	t, err := h.Directory.Tenant(ctx, wanted)
	if errors.Is(err, fault.NotFound) {
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	switch p.Kind {
	case authz.OperatorPrincipal:
		return t, nil
	case authz.UserPrincipal, authz.TokenPrincipal:
		if t.Slug == name || string(t.ID) == name {
			return t, nil
		}
	case authz.AppPrincipal:
		answer, err := h.Directory.Explain(ctx, directory.Bearer{Tenant: p.Tenant, Roles: p.Roles}, string(t.ID), "", p.Channel)
		if err != nil {
			return nil, err
		}
		if answer.Reached {
			return t, nil
		}
	case authz.Anonymous, authz.ConnectionPrincipal:
	}
	return nil, none
}
