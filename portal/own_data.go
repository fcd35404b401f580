package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/cookie"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/oidc"
)

// maxDownloadedActivity bounds how many entries of the activity are in a download.
const maxDownloadedActivity = 5000

// ownData is all that there is about a person, for them to keep (GDPR, article
// 15). No secret is in it: those are stored as hashes, or not given out.
type ownData struct {
	At           time.Time       `json:"downloaded_at"`
	Account      accountData     `json:"account"`
	Tenants      []tenantData    `json:"tenants"`
	SignIn       signInData      `json:"sign_in"`
	Sessions     []browserData   `json:"sessions"`
	Devices      []browserData   `json:"trusted_devices"`
	Tokens       []tokenView     `json:"application_tokens"`
	Applications []connectedData `json:"connected_applications"`
	Activity     []activityData  `json:"activity"`
}

type accountData struct {
	ID       id.User   `json:"id"`
	Email    string    `json:"email"`
	Given    string    `json:"given_name"`
	Family   string    `json:"family_name"`
	Display  string    `json:"display_name,omitempty"`
	Language string    `json:"language,omitempty"`
	TimeZone string    `json:"time_zone,omitempty"`
	Operator bool      `json:"operator"`
	Created  time.Time `json:"created_at"`
	Modified time.Time `json:"modified_at"`
}

type tenantData struct {
	Slug    string         `json:"tenant"`
	Name    string         `json:"name"`
	Status  string         `json:"status"`
	Source  string         `json:"source"`
	Roles   []string       `json:"roles"`
	Groups  []string       `json:"groups"`
	Profile map[string]any `json:"profile"`
	Created time.Time      `json:"created_at"`
}

type signInData struct {
	Password      bool          `json:"password"`
	Authenticator bool          `json:"authenticator_app"`
	RecoveryCodes int           `json:"recovery_codes_left"`
	Passkeys      []passkeyData `json:"passkeys"`
}

type passkeyData struct {
	Name     string    `json:"name"`
	Created  time.Time `json:"created_at"`
	LastUsed time.Time `json:"last_used_at,omitzero"`
}

type browserData struct {
	UserAgent string    `json:"user_agent"`
	Address   string    `json:"address"`
	Since     time.Time `json:"since"`
	LastUsed  time.Time `json:"last_used_at"`
	Until     time.Time `json:"until"`
}

type connectedData struct {
	ClientID string    `json:"client_id"`
	Name     string    `json:"name"`
	Tenants  []string  `json:"tenants"`
	Scopes   []string  `json:"scopes"`
	Since    time.Time `json:"since"`

	Details oidc.Details `json:"authorization_details,omitempty"`
}

type activityData struct {
	At        time.Time `json:"at"`
	Action    string    `json:"action"`
	ByYou     bool      `json:"by_you"`
	Name      string    `json:"name,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	Address   string    `json:"address,omitempty"`
}

// download sends all that there is about the person as a file.
func (p *Portal) download(c *gin.Context, session *authn.Session) error {
	data, err := p.gather(c, session)
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return fmt.Errorf("own data: %w", err)
	}
	c.Header("Content-Disposition", `attachment; filename="own-data.json"`)
	c.Data(http.StatusOK, "application/json; charset=utf-8", append(content, '\n'))
	return nil
}

func (p *Portal) gather(c *gin.Context, session *authn.Session) (*ownData, error) {
	ctx := c.Request.Context()
	data := &ownData{At: p.now().UTC(), Tenants: []tenantData{}, Sessions: []browserData{}, Devices: []browserData{}, Applications: []connectedData{}, Activity: []activityData{}}
	for _, part := range []func(context.Context, *authn.Session, *ownData) error{
		p.gatherAccount, p.gatherSignIn, p.gatherTokens, p.gatherActivity,
	} {
		if err := part(ctx, session, data); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (p *Portal) gatherAccount(ctx context.Context, _ *authn.Session, data *ownData) error {
	user, memberships, err := p.directory.OwnData(ctx)
	if err != nil {
		return err
	}
	data.Account = accountData{
		ID: user.ID, Email: user.Email, Given: user.Name.Given, Family: user.Name.Family, Display: user.Name.Display, Language: user.Locale, TimeZone: user.TimeZone,
		Operator: user.Operator, Created: user.Created, Modified: user.Modified,
	}
	for i := range memberships {
		m := &memberships[i]
		data.Tenants = append(data.Tenants, tenantData{
			Slug: m.Slug, Name: m.TenantName, Status: string(m.Status), Source: string(m.Source), Roles: m.Roles, Groups: m.Groups,
			Profile: m.Document(), Created: m.Created,
		})
	}
	return nil
}

func (p *Portal) gatherSignIn(ctx context.Context, session *authn.Session, data *ownData) error {
	var err error
	if data.SignIn.Password, err = p.authn.HasPassword(ctx, session.User); err != nil {
		return err
	}
	factors, err := p.authn.SecondFactors(ctx, session.User)
	if err != nil {
		return err
	}
	data.SignIn.Authenticator, data.SignIn.RecoveryCodes = factors.TOTP, factors.RecoveryCodes
	passkeys, err := p.authn.Passkeys(ctx, session.User)
	if err != nil {
		return err
	}
	data.SignIn.Passkeys = []passkeyData{}
	for i := range passkeys {
		data.SignIn.Passkeys = append(data.SignIn.Passkeys, passkeyData{passkeys[i].Name, passkeys[i].Created, passkeys[i].LastUsed})
	}
	sessions, err := p.authn.Sessions(ctx, session.User)
	if err != nil {
		return err
	}
	for i := range sessions {
		s := &sessions[i]
		data.Sessions = append(data.Sessions, browserData{s.UserAgent, s.Address, s.Created, s.LastSeen, s.Expires})
	}
	devices, err := p.authn.TrustedDevices(ctx, session.User)
	if err != nil {
		return err
	}
	for i := range devices {
		d := &devices[i]
		data.Devices = append(data.Devices, browserData{d.UserAgent, d.Address, d.TrustedAt, d.LastUsed, d.Expires})
	}
	return nil
}

func (p *Portal) gatherTokens(ctx context.Context, session *authn.Session, data *ownData) error {
	tokens, _, err := p.ownTokens(ctx, session)
	if err != nil {
		return err
	}
	data.Tokens = append([]tokenView{}, tokens...)
	applications, err := p.oidc.Connected(ctx, session.User)
	if err != nil {
		return err
	}
	for i := range applications {
		a := &applications[i]
		data.Applications = append(data.Applications, connectedData{a.ClientID, a.Name, a.Tenants, a.Scopes, a.Since, a.Details})
	}
	return nil
}

func (p *Portal) gatherActivity(ctx context.Context, session *authn.Session, data *ownData) error {
	const page = 500
	for before := id.Event(""); len(data.Activity) < maxDownloadedActivity; {
		entries, next, err := p.authn.Activity(ctx, session.User, before, page)
		if err != nil {
			return err
		}
		for i := range entries {
			a := &entries[i]
			data.Activity = append(data.Activity, activityData{a.At, a.Action, a.Own, a.Name, a.UserAgent, a.Address})
		}
		if before = next; next == "" {
			break
		}
	}
	return nil
}

// clearOwnCookies forgets who was signed in here.
func (p *Portal) clearOwnCookies(c *gin.Context) {
	p.cookies.Clear(c.Writer, cookie.Session)
	p.cookies.Clear(c.Writer, cookie.Device)
}
