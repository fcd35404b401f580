package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

var _ directory.Holdings = (*OIDC)(nil)

// logout is the payload of a delivery of kind outbox.BackchannelLogout.
type logout struct {
	ClientID string     `json:"client_id"`
	User     id.User    `json:"user"`
	Session  id.Session `json:"session"`
	Tenant   id.Tenant  `json:"tenant,omitempty"` // where the membership ended; empty: the whole session
}

// logoutClaims is the payload of a logout token (OIDC Back-Channel Logout §2.4).
type logoutClaims struct {
	Issuer   string              `json:"iss"`
	Audience string              `json:"aud"`
	Subject  string              `json:"sub"`
	Issued   int64               `json:"iat"`
	Expires  int64               `json:"exp"`
	ID       id.Delivery         `json:"jti"`
	Session  id.Session          `json:"sid,omitempty"`
	Tenant   id.Tenant           `json:"tid,omitempty"`
	Events   map[string]struct{} `json:"events"`
}

// logoutEvent marks a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// SignOut ends a session with the grants that depend on it, and tells the
// applications. A session that is over stays as it is.
func (o *OIDC) SignOut(ctx context.Context, session id.Session) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.authn.SignOut(ctx, session); err != nil {
			return err
		}
		return o.endGrants(ctx, session)
	})
}

// EndMembership implements directory.Holdings.
func (o *OIDC) EndMembership(ctx context.Context, tenant id.Tenant, membership id.Membership, user id.User) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if holds, err := o.store.Holds(ctx, tenant, membership, user); err != nil || !holds {
			return err
		}
		grants, err := o.store.RevokeGrantsOfMembership(ctx, tenant, membership, o.now())
		if err != nil {
			return err
		}
		if err := o.authn.RevokeApplicationTokens(ctx, tenant, user); err != nil {
			return err
		}
		if err := o.endSupportOf(ctx, user, tenant); err != nil {
			return err
		}
		return o.notify(ctx, grants, tenant)
	})
}

// EndVia ends the sessions that began at a tenant's provider with the grants that
// depend on them, and tells the applications, in the transaction in ctx. Grants that
// outlive their session are refused while the provider is disabled, and come back
// with it.
func (o *OIDC) EndVia(ctx context.Context, tenant id.Tenant, provider id.IdentityProvider) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		sessions, err := o.authn.EndSessionsVia(ctx, tenant, provider)
		if err != nil {
			return err
		}
		for _, session := range sessions {
			if err := o.endGrants(ctx, session.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// EndLogin implements directory.Holdings. Grants that outlive their session are
// refused while the user is disabled, and come back with them.
func (o *OIDC) EndLogin(ctx context.Context, user id.User) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		sessions, err := o.authn.EndSessions(ctx, user)
		if err != nil {
			return err
		}
		for _, session := range sessions {
			if err := o.endGrants(ctx, session.ID); err != nil {
				return err
			}
		}
		return o.endSupportOf(ctx, user, "")
	})
}

// ChangePassword sets the password of a person who is signed in. Everything that
// was begun with the old one ends; the browser gets another session, which is
// returned with its cookie. It fails with fault.Invalid and the field
// current_password or password, and with fault.Throttled.
func (o *OIDC) ChangePassword(ctx context.Context, session *authn.Session, current, password secret.Text, client authn.Client) (*authn.Session, secret.Text, error) {
	if err := o.authn.CheckPassword(ctx, session.User, current); err != nil {
		return nil, secret.Text{}, err
	}
	next, err := o.authn.NewPassword(ctx, session.User, password)
	if err != nil {
		return nil, secret.Text{}, err
	}
	var reopened *authn.Session
	var cookie secret.Text
	err = o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.EndLogin(ctx, session.User); err != nil {
			return err
		}
		if err := o.authn.PutPassword(ctx, next); err != nil {
			return err
		}
		var err error
		reopened, cookie, err = o.authn.Reopen(ctx, session, client)
		return err
	})
	return reopened, cookie, err
}

// ResetPassword sets the password of the person to whom the link was sent, and
// ends everything that was begun with the old one. Nobody is signed in by it: a
// second factor is asked for as ever. It fails with fault.NotFound for a link that
// does not work, and with fault.Invalid and the field password.
func (o *OIDC) ResetPassword(ctx context.Context, token, password secret.Text) error {
	user, err := o.authn.CheckPasswordReset(ctx, token)
	if err != nil {
		return err
	}
	next, err := o.authn.NewPassword(ctx, user, password)
	if err != nil {
		return err
	}
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorUser, ID: string(user)})
	return o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.authn.TakePasswordReset(ctx, token); err != nil {
			return err
		}
		if err := o.EndLogin(ctx, user); err != nil {
			return err
		}
		return o.authn.PutPassword(ctx, next)
	})
}

// ChangeForced sets the password that a sign-in waits for, ends everything that
// was begun with the old one, and moves the sign-in on. It fails as
// authn.ForcedChange does.
func (o *OIDC) ChangeForced(ctx context.Context, login id.Login, browser, password secret.Text, client authn.Client) (*authn.Login, error) {
	change, err := o.authn.ForcedChange(ctx, login, browser, password)
	if err != nil {
		return nil, err
	}
	var next *authn.Login
	err = o.store.InTx(ctx, func(ctx context.Context) error {
		if err := o.EndLogin(ctx, change.User()); err != nil {
			return err
		}
		next, err = o.authn.CompleteForcedChange(ctx, change, client)
		return err
	})
	return next, err
}

func (o *OIDC) endGrants(ctx context.Context, session id.Session) error {
	grants, err := o.store.RevokeGrantsOfSession(ctx, session, o.now())
	if err != nil {
		return err
	}
	return o.notify(ctx, grants, "")
}

// notify writes one delivery for each application and session among the grants
// whose application wants to be told.
func (o *OIDC) notify(ctx context.Context, grants []Grant, tenant id.Tenant) error {
	told := map[logout]bool{}
	for _, grant := range grants {
		l := logout{ClientID: grant.ClientID, User: grant.User, Session: grant.Session, Tenant: tenant}
		if told[l] {
			continue
		}
		told[l] = true
		a, err := o.Application(ctx, grant.ClientID)
		if err != nil {
			return err
		}
		if a.BackchannelLogoutURI == "" {
			continue
		}
		payload, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("encode a logout: %w", err)
		}
		now := o.now()
		err = o.store.AppendDelivery(ctx, outbox.Delivery{
			ID: id.New[id.Delivery](), Tenant: grant.Tenant, Kind: outbox.BackchannelLogout, Destination: grant.ClientID, Payload: payload, Due: now, Created: now,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// LogoutToken turns a delivery of kind outbox.BackchannelLogout into a signed
// logout token, and says where to post it. address is empty where the
// application is gone or does not want to be told any more.
func (o *OIDC) LogoutToken(ctx context.Context, d outbox.Delivery) (address, token string, err error) {
	var l logout
	if err := json.Unmarshal(d.Payload, &l); err != nil {
		return "", "", fmt.Errorf("decode a logout: %w", err)
	}
	a, err := o.Application(ctx, l.ClientID)
	if errors.Is(err, fault.NotFound) {
		return "", "", nil
	}
	if err != nil || a.BackchannelLogoutURI == "" {
		return "", "", err
	}
	subject, err := o.Subject(ctx, a, l.User)
	if err != nil {
		return "", "", err
	}
	now := o.now()
	token, err = o.sign(ctx, a.IDTokenAlg, typLogoutToken, &logoutClaims{
		Issuer: o.issuer, Audience: a.ClientID, Subject: subject, Issued: now.Unix(), Expires: expiresIn(now, LogoutTokenLifetime),
		ID: d.ID, Session: l.Session, Tenant: l.Tenant, Events: map[string]struct{}{logoutEvent: {}},
	})
	return a.BackchannelLogoutURI, token, err
}

// A Hint is what an ID token of ours says, as an id_token_hint (OIDC Core
// §3.1.2.1, RP-Initiated Logout 1.0 §2).
type Hint struct {
	ClientID string
	User     id.User
	Session  id.Session
	Tenant   id.Tenant
}

// Hint reads an ID token that this server has issued, expired or not. It fails
// with invalid_token, also for other kinds of tokens.
func (o *OIDC) Hint(ctx context.Context, token string) (*Hint, error) {
	payload, _, err := o.verify(ctx, token, typIDToken)
	if err != nil {
		return nil, err
	}
	var claims IDClaims
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Issuer != o.issuer || claims.Audience == "" || claims.Subject == "" {
		return nil, errToken()
	}
	a, err := o.Application(ctx, claims.Audience)
	if errors.Is(err, fault.NotFound) {
		return nil, errToken()
	}
	if err != nil {
		return nil, err
	}
	user, err := o.UserOf(ctx, a, claims.Subject)
	if err != nil {
		return nil, err
	}
	return &Hint{ClientID: claims.Audience, User: user, Session: claims.Session, Tenant: claims.TenantClaims.Tenant}, nil
}

// SignOutConfirmation returns what the form that confirms a sign-out sends back.
// Other sites can't know it, so they can't sign anybody out.
func (o *OIDC) SignOutConfirmation(session id.Session) secret.Text {
	mac := hmac.New(sha256.New, o.confirmKey[:])
	mac.Write([]byte(session))
	return secret.NewText(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}
