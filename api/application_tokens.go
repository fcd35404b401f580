package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// TokenBody is an application token as it is shown: without its secret.
type TokenBody struct {
	ID            id.ApplicationToken `json:"id"`
	Name          string              `json:"name"`
	Description   string              `json:"description"`
	Creator       id.User             `json:"creator" doc:"The user whose rights it has, as far as it is not limited"`
	Status        string              `json:"status" enum:"active,expired,revoked"`
	StatusLabel   string              `json:"status_label,omitempty" doc:"The role system's word for it"`
	CreatedAt     time.Time           `json:"created_at"`
	ExpiresAt     *time.Time          `json:"expires_at,omitempty" doc:"Absent: never"`
	LastUsedAt    *time.Time          `json:"last_used_at,omitempty" doc:"To a minute; absent: never used"`
	RevokedAt     *time.Time          `json:"revoked_at,omitempty"`
	Permissions   []string            `json:"permissions,omitempty" doc:"The only permissions that it gives; absent: all that its creator has"`
	CIDRs         []string            `json:"cidrs,omitempty" doc:"The only networks that it is accepted from; absent: any"`
	PreviousUntil *time.Time          `json:"previous_secret_until,omitempty" doc:"Until then the secret before the last rotation is accepted as well"`
}

// madeTokenBody is a token with its secret, which is shown this once.
type madeTokenBody struct {
	TokenBody
	Token string `json:"token" doc:"The secret. It is not shown again." pattern:"^rc_[0-9A-Za-z]{49}$"`
}

type madeToken struct {
	Location string `header:"Location"`
	Body     madeTokenBody
}

// timeOrNone is nil for the zero time.
func timeOrNone(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (h *Handler) tokenBodyOf(t *authn.ApplicationToken, policy authz.AppTokenPolicy) TokenBody {
	body := TokenBody{
		ID: t.ID, Name: t.Name, Description: t.Description, Creator: t.Creator, Status: "active", StatusLabel: policy.StatusLabel(!t.Revoked.IsZero()),
		CreatedAt: t.Created, ExpiresAt: timeOrNone(t.Expires), LastUsedAt: timeOrNone(t.LastUsed), RevokedAt: timeOrNone(t.Revoked),
		Permissions: t.Permissions,
	}
	now := h.Now()
	switch {
	case body.RevokedAt != nil:
		body.Status = "revoked"
	case body.ExpiresAt != nil && !now.Before(t.Expires):
		body.Status = "expired"
	case now.Before(t.PreviousUntil):
		body.PreviousUntil = &t.PreviousUntil
	}
	for _, network := range t.Networks {
		body.CIDRs = append(body.CIDRs, network.String())
	}
	return body
}

// networks reads CIDR blocks.
func networks(texts []string) ([]netip.Prefix, error) {
	blocks := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		var err error
		if blocks[i], err = authn.ParseNetwork(text); err != nil {
			return nil, err
		}
	}
	return blocks, nil
}

type (
	// TokenAddress is the place of a token in a path.
	TokenAddress struct {
		ID string `path:"token" maxLength:"36" doc:"The token's id"`
	}
	tokenListing struct {
		Page
		Creator string `query:"creator" maxLength:"36" doc:"Only tokens of this user; without it all that the caller may see"`
	}
	newToken struct {
		Body struct {
			Name        string     `json:"name" maxLength:"100" doc:"Unique in the tenant among tokens that are not revoked"`
			Description string     `json:"description,omitempty" maxLength:"1000"`
			ExpiresAt   *time.Time `json:"expires_at,omitempty"`
			Permissions []string   `json:"permissions,omitempty" minItems:"1" maxItems:"512" doc:"The only permissions that it gives; absent: all that you have, at each moment"`
			CIDRs       []string   `json:"cidrs,omitempty" minItems:"1" maxItems:"100" doc:"The only networks that it is accepted from; absent: any"`
		}
	}
	changedToken struct {
		TokenAddress
		Body struct {
			Description *string             `json:"description,omitempty" maxLength:"1000"`
			ExpiresAt   optional[time.Time] `json:"expires_at,omitzero" doc:"null: never"`
			Permissions optional[[]string]  `json:"permissions,omitzero" doc:"null: no limit"`
			CIDRs       optional[[]string]  `json:"cidrs,omitzero" doc:"null: from anywhere"`
		}
	}
	rotatedToken struct {
		TokenAddress
		Body *struct {
			Overlap *int64 `json:"overlap,omitempty" minimum:"0" maximum:"604800" doc:"For how many seconds the present secret is accepted beside the new one; default: a day"`
		} `required:"false"`
	}
	shownToken  struct{ Body TokenBody }
	shownTokens struct{ Body list[TokenBody] }
)

// id returns the identifier in the address. What can't be one is not found.
func (a TokenAddress) id() (id.ApplicationToken, error) {
	token, err := id.Parse[id.ApplicationToken](a.ID)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no such application token")
	}
	return token, nil
}

const tokensPath = "/application-tokens"

func (o *operations) applicationTokens() {
	h := o.handler
	about := operationsOf(tokensPath, "Application tokens")
	inTenant(o, about("listApplicationTokens", http.MethodGet, "", "List application tokens",
		"The newest first. Whoever does not manage the tokens of others gets the own ones.", 0), h.listTokens)
	inTenant(o, about("createApplicationToken", http.MethodPost, "", "Create an application token",
		"The token has the rights that you have in this tenant, at each moment, within its limits. The secret is shown this once.",
		http.StatusCreated), h.createToken)
	inTenant(o, about("getApplicationToken", http.MethodGet, "/{token}", "Get an application token", "", 0), h.getToken)
	inTenant(o, about("changeApplicationToken", http.MethodPatch, "/{token}", "Change an application token",
		"What is left out stays as it is. Tokens of others can only be narrowed.", 0), h.changeToken)
	inTenant(o, about("rotateApplicationToken", http.MethodPost, "/{token}/rotate", "Give an application token another secret",
		"The secret is shown this once. The present one is accepted for a while beside it.", 0), h.rotateToken)
	inTenant(o, about("revokeApplicationToken", http.MethodDelete, "/{token}", "Revoke an application token",
		"At once, with both secrets, and for good.", http.StatusNoContent), h.revokeToken)
}

// tokenPolicy is what the tenant's role system says about tokens.
func (h *Handler) tokenPolicy(ctx context.Context, t *directory.Tenant) (authz.AppTokenPolicy, error) {
	b, err := h.Blueprints.Version(ctx, t.Blueprint, t.BlueprintVersion)
	if err != nil {
		return authz.AppTokenPolicy{}, err
	}
	return b.AppTokens(), nil
}

func (h *Handler) listTokens(ctx context.Context, t *directory.Tenant, in *tokenListing) (*shownTokens, error) {
	before := id.ApplicationToken("")
	var err error
	if in.Cursor != "" {
		if before, err = id.Parse[id.ApplicationToken](in.Cursor); err != nil {
			return nil, errCursor()
		}
	}
	found, err := h.Authn.ApplicationTokens(ctx, t.ID, id.User(in.Creator), before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	policy, err := h.tokenPolicy(ctx, t)
	if err != nil {
		return nil, err
	}
	return &shownTokens{pageOf(found, in.Limit, func(t *authn.ApplicationToken) string { return string(t.ID) },
		func(t *authn.ApplicationToken) TokenBody { return h.tokenBodyOf(t, policy) })}, nil
}

func (h *Handler) createToken(ctx context.Context, t *directory.Tenant, in *newToken) (*madeToken, error) {
	token := authn.ApplicationToken{Tenant: t.ID, Name: in.Body.Name, Description: in.Body.Description, Permissions: in.Body.Permissions}
	if in.Body.ExpiresAt != nil {
		token.Expires = in.Body.ExpiresAt.UTC()
	}
	var err error
	if token.Networks, err = networks(in.Body.CIDRs); err != nil {
		return nil, err
	}
	made, text, err := h.Authn.CreateApplicationToken(ctx, token)
	if err != nil {
		return nil, err
	}
	return h.madeTokenOf(ctx, t, made, text)
}

// madeTokenOf is the one answer that has a secret in it.
func (h *Handler) madeTokenOf(ctx context.Context, t *directory.Tenant, token *authn.ApplicationToken, text secret.Text) (*madeToken, error) {
	policy, err := h.tokenPolicy(ctx, t)
	if err != nil {
		return nil, err
	}
	return &madeToken{
		Location: basePath + "/tenants/" + t.Slug + tokensPath + "/" + string(token.ID),
		Body:     madeTokenBody{TokenBody: h.tokenBodyOf(token, policy), Token: text.Reveal()},
	}, nil
}

func (h *Handler) shownTokenOf(ctx context.Context, t *directory.Tenant, token *authn.ApplicationToken) (*shownToken, error) {
	policy, err := h.tokenPolicy(ctx, t)
	if err != nil {
		return nil, err
	}
	return &shownToken{h.tokenBodyOf(token, policy)}, nil
}

func (h *Handler) getToken(ctx context.Context, t *directory.Tenant, in *TokenAddress) (*shownToken, error) {
	token, err := in.id()
	if err != nil {
		return nil, err
	}
	found, err := h.Authn.ApplicationTokenOf(ctx, t.ID, token)
	if err != nil {
		return nil, err
	}
	return h.shownTokenOf(ctx, t, found)
}

func (h *Handler) changeToken(ctx context.Context, t *directory.Tenant, in *changedToken) (*shownToken, error) {
	token, err := in.id()
	if err != nil {
		return nil, err
	}
	change := authn.ApplicationTokenChange{Description: in.Body.Description}
	if expires := in.Body.ExpiresAt; expires.sent {
		utc := expires.value.UTC()
		change.Expires = &utc
	}
	if permissions := in.Body.Permissions; permissions.sent {
		if !permissions.null && len(permissions.value) == 0 {
			return nil, fault.Field(fault.Invalid, "permissions", "a token without any permission is of no use: revoke it, or send null for no limit")
		}
		change.Permissions = &permissions.value
	}
	if cidrs := in.Body.CIDRs; cidrs.sent {
		if !cidrs.null && len(cidrs.value) == 0 {
			return nil, fault.Field(fault.Invalid, "cidrs", "a token that is accepted from nowhere is of no use: revoke it, or send null for anywhere")
		}
		blocks, err := networks(cidrs.value)
		if err != nil {
			return nil, err
		}
		change.Networks = &blocks
	}
	changed, err := h.Authn.ChangeApplicationToken(ctx, t.ID, token, change)
	if err != nil {
		return nil, err
	}
	return h.shownTokenOf(ctx, t, changed)
}

func (h *Handler) rotateToken(ctx context.Context, t *directory.Tenant, in *rotatedToken) (*madeToken, error) {
	token, err := in.id()
	if err != nil {
		return nil, err
	}
	overlap := authn.DefaultTokenOverlap
	if in.Body != nil && in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap) * time.Second
	}
	rotated, text, err := h.Authn.RotateApplicationToken(ctx, t.ID, token, overlap)
	if err != nil {
		return nil, err
	}
	return h.madeTokenOf(ctx, t, rotated, text)
}

func (h *Handler) revokeToken(ctx context.Context, t *directory.Tenant, in *TokenAddress) (*struct{}, error) {
	token, err := in.id()
	if err != nil {
		return nil, err
	}
	return nil, h.Authn.RevokeApplicationToken(ctx, t.ID, token)
}
