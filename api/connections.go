package api

import (
	"context"
	"net/http"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// connectionBody is a SCIM connection as it is shown.
type connectionBody struct {
	ID             id.Connection `json:"id"`
	Name           string        `json:"name"`
	Profile        string        `json:"profile" enum:"rfc,entra,okta"`
	Endpoint       string        `json:"endpoint" doc:"The base URL that the directory is given"`
	Application    string        `json:"application,omitempty" doc:"client_id of the machine that may act as the connection, by an access token with the scope scim"`
	Paused         *pauseBody    `json:"paused,omitempty" doc:"Absent: it is not paused"`
	RateLimit      *rateBody     `json:"rate_limit,omitempty" doc:"Absent: no limit"`
	Guard          *guardBody    `json:"guard,omitempty" doc:"Absent: nothing is guarded"`
	Deprovisioning string        `json:"deprovisioning" enum:"delete,suspend" doc:"What DELETE of a user does to the membership"`
	Mapping        []mappingBody `json:"mapping"`
	CreatedAt      time.Time     `json:"created_at"`
	ModifiedAt     time.Time     `json:"modified_at"`
}

type pauseBody struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
}

type rateBody struct {
	PerSecond int `json:"per_second" minimum:"1" maximum:"100000" doc:"Requests per second, on each node"`
	Burst     int `json:"burst" minimum:"1" maximum:"100000" doc:"How many may come at once"`
}

// guardLimitsBody is the part of a guard that is set.
type guardLimitsBody struct {
	People  int   `json:"people,omitempty" minimum:"0" doc:"So many people may be switched off within the window; 0 or absent: no such limit"`
	Percent int   `json:"percent,omitempty" minimum:"0" maximum:"99" doc:"So many of a hundred active people; 0 or absent: no such limit"`
	Window  int64 `json:"window,omitempty" minimum:"60" maximum:"604800" doc:"In seconds; default: an hour"`
}

// guardBody is a guard as it is shown.
type guardBody struct {
	People  int        `json:"people,omitempty"`
	Percent int        `json:"percent,omitempty"`
	Window  int64      `json:"window" doc:"In seconds"`
	State   string     `json:"state" enum:"counting,held,released,rejected"`
	Since   *time.Time `json:"since,omitempty" doc:"Of held and rejected"`
	Until   *time.Time `json:"until,omitempty" doc:"The end of a release"`
}

type mappingBody struct {
	From string `json:"from" maxLength:"500" doc:"Where the directory sends the value, such as emails[type eq \"work\"].value"`
	To   string `json:"to" maxLength:"500" doc:"The attribute that gets it, such as userName"`
}

// ConnectionTokenBody is a token of a connection without its secret.
type ConnectionTokenBody struct {
	ID         id.ConnectionToken `json:"id"`
	Status     string             `json:"status" enum:"active,expired"`
	CreatedAt  time.Time          `json:"created_at"`
	ExpiresAt  *time.Time         `json:"expires_at,omitempty" doc:"Absent: never"`
	LastUsedAt *time.Time         `json:"last_used_at,omitempty" doc:"To a minute; absent: never used"`
}

type madeConnectionToken struct {
	Body struct {
		ConnectionTokenBody
		Token string `json:"token" doc:"The secret. It is not shown again." pattern:"^rcs_"`
	}
}

// ConnectionAddress is the place of a connection in a path.
type ConnectionAddress struct {
	Connection string `path:"connection" maxLength:"36" doc:"The connection's id"`
}

func (a ConnectionAddress) id() (id.Connection, error) {
	connection, err := id.Parse[id.Connection](a.Connection)
	if err != nil {
		return "", fault.New(fault.NotFound, "there is no such connection")
	}
	return connection, nil
}

type (
	newConnection struct {
		Body struct {
			Name           string           `json:"name" maxLength:"100" doc:"Unique in the tenant"`
			Profile        string           `json:"profile,omitempty" enum:"rfc,entra,okta" doc:"The dialect of the directory; default: rfc"`
			Application    string           `json:"application,omitempty" maxLength:"128"`
			RateLimit      *rateBody        `json:"rate_limit,omitempty"`
			Guard          *guardLimitsBody `json:"guard,omitempty"`
			Deprovisioning string           `json:"deprovisioning,omitempty" enum:"delete,suspend"`
			Mapping        []mappingBody    `json:"mapping,omitempty" maxItems:"20"`
		}
	}
	changedConnection struct {
		ConnectionAddress
		Body struct {
			Name           *string                   `json:"name,omitempty" maxLength:"100"`
			Profile        *string                   `json:"profile,omitempty" enum:"rfc,entra,okta"`
			Application    optional[string]          `json:"application,omitzero" doc:"null: none"`
			RateLimit      optional[rateBody]        `json:"rate_limit,omitzero" doc:"null: no limit"`
			Guard          optional[guardLimitsBody] `json:"guard,omitzero" doc:"null: none"`
			Deprovisioning *string                   `json:"deprovisioning,omitempty" enum:"delete,suspend"`
			Mapping        *[]mappingBody            `json:"mapping,omitempty" maxItems:"20"`
		}
	}
	pausedConnection struct {
		ConnectionAddress
		Body *struct {
			Reason string `json:"reason,omitempty" maxLength:"500" doc:"Shown to administrators, and to the directory with each refusal"`
		} `required:"false"`
	}
	releasedGuard struct {
		ConnectionAddress
		Body struct {
			Minutes int64 `json:"minutes" minimum:"1" maximum:"1440"`
		}
	}
	newConnectionToken struct {
		ConnectionAddress
		Body *struct {
			ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Absent: never"`
		} `required:"false"`
	}
	rotatedConnection struct {
		ConnectionAddress
		Body *struct {
			ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"Of the new token; absent: never"`
			Overlap   *int64     `json:"overlap,omitempty" minimum:"0" maximum:"2592000" doc:"For how many seconds the present tokens are accepted beside the new one; default: a day"`
		} `required:"false"`
	}
	connectionTokenAddress struct {
		ConnectionAddress
		TokenAddress
	}
	shownConnection  struct{ Body connectionBody }
	shownConnections struct{ Body list[connectionBody] }
	madeConnection   struct {
		Location string `header:"Location"`
		Body     connectionBody
	}
	shownConnectionTokens struct{ Body list[ConnectionTokenBody] }
)

const connectionsPath = "/connections"

func (o *operations) connections() {
	h := o.handler
	about := operationsOf(connectionsPath, "Connections")
	inTenant(o, about("listConnections", http.MethodGet, "", "List SCIM connections", "By name.", 0), h.listConnections)
	inTenant(o, about("createConnection", http.MethodPost, "", "Create a SCIM connection", "It has no token yet.", http.StatusCreated), h.createConnection)
	inTenant(o, about("getConnection", http.MethodGet, "/{connection}", "Get a SCIM connection", "", 0), h.getConnection)
	inTenant(o, about("changeConnection", http.MethodPatch, "/{connection}", "Change a SCIM connection", "What is left out stays as it is.", 0), h.changeConnection)
	inTenant(o, about("deleteConnection", http.MethodDelete, "/{connection}", "Delete a SCIM connection",
		"Its tokens stop at once; what its directory has pushed stays.", http.StatusNoContent), h.deleteConnection)
	inTenant(o, about("pauseConnection", http.MethodPost, "/{connection}/pause", "Pause a SCIM connection",
		"Everything that comes through it is refused with 403, and nothing changes.", 0), h.pauseConnection)
	inTenant(o, about("resumeConnection", http.MethodPost, "/{connection}/resume", "Resume a SCIM connection", "", 0),
		h.onConnection(func(ctx context.Context, t *directory.Tenant, c id.Connection) (*directory.Connection, error) {
			return h.Directory.ResumeConnection(ctx, t.ID, c)
		}))
	inTenant(o, about("listConnectionTokens", http.MethodGet, "/{connection}/tokens", "List the tokens of a SCIM connection",
		"The newest first. One that has expired is listed for 30 days or more.", 0), h.listConnectionTokens)
	inTenant(o, about("createConnectionToken", http.MethodPost, "/{connection}/tokens", "Create a token of a SCIM connection",
		"The secret is shown this once. The other tokens stay as they are.", http.StatusCreated), h.createConnectionToken)
	inTenant(o, about("rotateConnection", http.MethodPost, "/{connection}/tokens/rotate", "Replace the tokens of a SCIM connection",
		"The secret is shown this once. All other tokens end after the overlap, unless they do before.", http.StatusCreated), h.rotateConnection)
	inTenant(o, about("revokeConnectionToken", http.MethodDelete, "/{connection}/tokens/{token}", "Revoke a token of a SCIM connection",
		"At once, and for good.", http.StatusNoContent), h.revokeConnectionToken)
	inTenant(o, about("releaseGuard", http.MethodPost, "/{connection}/guard/release", "Release the guard of a SCIM connection",
		"For so many minutes the directory may switch off whomever it wants to; then the guard counts anew.", 0),
		func(ctx context.Context, t *directory.Tenant, in *releasedGuard) (*shownConnection, error) {
			connection, err := in.id()
			if err != nil {
				return nil, err
			}
			return h.shown(t)(h.Directory.ReleaseGuard(ctx, t.ID, connection, time.Duration(in.Body.Minutes)*time.Minute))
		})
	inTenant(o, about("rejectGuard", http.MethodPost, "/{connection}/guard/reject", "Reject what the guard of a SCIM connection holds",
		"Nobody is switched off, and the directory is told so for good (403), until the guard is released or reset.", 0),
		h.onConnection(func(ctx context.Context, t *directory.Tenant, c id.Connection) (*directory.Connection, error) {
			return h.Directory.RejectGuard(ctx, t.ID, c)
		}))
	inTenant(o, about("resetGuard", http.MethodPost, "/{connection}/guard/reset", "Reset the guard of a SCIM connection", "It counts from zero.", 0),
		h.onConnection(func(ctx context.Context, t *directory.Tenant, c id.Connection) (*directory.Connection, error) {
			return h.Directory.ResetGuard(ctx, t.ID, c)
		}))
}

// onConnection is an operation without a body that answers with the connection.
func (h *Handler) onConnection(do func(ctx context.Context, t *directory.Tenant, c id.Connection) (*directory.Connection, error)) func(context.Context, *directory.Tenant, *ConnectionAddress) (*shownConnection, error) {
	return func(ctx context.Context, t *directory.Tenant, in *ConnectionAddress) (*shownConnection, error) {
		connection, err := in.id()
		if err != nil {
			return nil, err
		}
		return h.shown(t)(do(ctx, t, connection))
	}
}

// shown is a connection, or an error, as an answer.
func (h *Handler) shown(t *directory.Tenant) func(*directory.Connection, error) (*shownConnection, error) {
	return func(c *directory.Connection, err error) (*shownConnection, error) {
		if err != nil {
			return nil, err
		}
		return &shownConnection{h.connectionBodyOf(t, c)}, nil
	}
}

func (h *Handler) connectionBodyOf(t *directory.Tenant, c *directory.Connection) connectionBody {
	body := connectionBody{
		ID: c.ID, Name: c.Name, Profile: string(c.Profile), Endpoint: h.OIDC.Issuer() + "/t/" + t.Slug + "/scim/v2", Application: c.Application,
		Deprovisioning: string(c.Deprovisioning), Mapping: []mappingBody{}, CreatedAt: c.Created, ModifiedAt: c.Modified,
	}
	if !c.Paused.IsZero() {
		body.Paused = &pauseBody{Since: c.Paused, Reason: c.PauseReason}
	}
	if c.RateLimit.PerSecond > 0 {
		body.RateLimit = new(rateBody(c.RateLimit))
	}
	if g := c.Guard; g.On() {
		body.Guard = &guardBody{People: g.People, Percent: g.Percent, Window: int64(g.Window.Seconds()), State: "counting"}
		switch state := g.At(h.Now()); state {
		case directory.GuardReleased:
			body.Guard.State, body.Guard.Until = string(state), &g.Until
		case directory.GuardHeld, directory.GuardRejected:
			body.Guard.State, body.Guard.Since = string(state), &g.Since
		case directory.GuardCounting:
		}
	}
	for _, m := range c.Mappings {
		body.Mapping = append(body.Mapping, mappingBody(m))
	}
	return body
}

func (h *Handler) tokenOfConnectionBody(t *directory.ConnectionToken) ConnectionTokenBody {
	body := ConnectionTokenBody{ID: t.ID, Status: "active", CreatedAt: t.Created, ExpiresAt: timeOrNone(t.Expires), LastUsedAt: timeOrNone(t.LastUsed)}
	if !t.Expires.IsZero() && !h.Now().Before(t.Expires) {
		body.Status = "expired"
	}
	return body
}

func mappingsOf(bodies []mappingBody) []directory.AttributeMapping {
	mappings := make([]directory.AttributeMapping, len(bodies))
	for i, m := range bodies {
		mappings[i] = directory.AttributeMapping(m)
	}
	return mappings
}

func (g guardLimitsBody) limits() *directory.GuardLimits {
	return &directory.GuardLimits{People: g.People, Percent: g.Percent, Window: time.Duration(g.Window) * time.Second}
}

func (h *Handler) listConnections(ctx context.Context, t *directory.Tenant, in *Page) (*shownConnections, error) {
	found, err := h.Directory.Connections(ctx, t.ID, in.Cursor, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &shownConnections{pageOf(found, in.Limit, func(c *directory.Connection) string { return c.Name },
		func(c *directory.Connection) connectionBody { return h.connectionBodyOf(t, c) })}, nil
}

func (h *Handler) createConnection(ctx context.Context, t *directory.Tenant, in *newConnection) (*madeConnection, error) {
	settings := directory.ConnectionSettings{Name: &in.Body.Name, Application: &in.Body.Application}
	if in.Body.Profile != "" {
		settings.Profile = new(directory.ConnectionProfile(in.Body.Profile))
	}
	if in.Body.Deprovisioning != "" {
		settings.Deprovisioning = new(directory.Deprovisioning(in.Body.Deprovisioning))
	}
	if in.Body.RateLimit != nil {
		settings.RateLimit = new(directory.RateLimit(*in.Body.RateLimit))
	}
	if in.Body.Guard != nil {
		settings.Guard = in.Body.Guard.limits()
	}
	if in.Body.Mapping != nil {
		settings.Mappings = new(mappingsOf(in.Body.Mapping))
	}
	c, err := h.Directory.CreateConnection(ctx, t.ID, settings)
	if err != nil {
		return nil, err
	}
	return &madeConnection{
		Location: basePath + "/tenants/" + t.Slug + connectionsPath + "/" + string(c.ID), Body: h.connectionBodyOf(t, c),
	}, nil
}

func (h *Handler) getConnection(ctx context.Context, t *directory.Tenant, in *ConnectionAddress) (*shownConnection, error) {
	connection, err := in.id()
	if err != nil {
		return nil, err
	}
	return h.shown(t)(h.Directory.ConnectionOf(ctx, t.ID, connection))
}

func (h *Handler) changeConnection(ctx context.Context, t *directory.Tenant, in *changedConnection) (*shownConnection, error) {
	connection, err := in.id()
	if err != nil {
		return nil, err
	}
	settings := directory.ConnectionSettings{Name: in.Body.Name}
	if in.Body.Profile != nil {
		settings.Profile = new(directory.ConnectionProfile(*in.Body.Profile))
	}
	if in.Body.Deprovisioning != nil {
		settings.Deprovisioning = new(directory.Deprovisioning(*in.Body.Deprovisioning))
	}
	if in.Body.Application.sent {
		settings.Application = &in.Body.Application.value
	}
	if in.Body.RateLimit.sent {
		settings.RateLimit = new(directory.RateLimit(in.Body.RateLimit.value))
	}
	if in.Body.Guard.sent {
		settings.Guard = in.Body.Guard.value.limits()
	}
	if in.Body.Mapping != nil {
		settings.Mappings = new(mappingsOf(*in.Body.Mapping))
	}
	return h.shown(t)(h.Directory.ChangeConnection(ctx, t.ID, connection, settings))
}

func (h *Handler) deleteConnection(ctx context.Context, t *directory.Tenant, in *ConnectionAddress) (*struct{}, error) {
	connection, err := in.id()
	if err != nil {
		return nil, err
	}
	return nil, h.Directory.DeleteConnection(ctx, t.ID, connection)
}

func (h *Handler) pauseConnection(ctx context.Context, t *directory.Tenant, in *pausedConnection) (*shownConnection, error) {
	connection, err := in.id()
	if err != nil {
		return nil, err
	}
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return h.shown(t)(h.Directory.PauseConnection(ctx, t.ID, connection, reason))
}

func (h *Handler) listConnectionTokens(ctx context.Context, t *directory.Tenant, in *ConnectionAddress) (*shownConnectionTokens, error) {
	connection, err := in.id()
	if err != nil {
		return nil, err
	}
	tokens, err := h.Directory.ConnectionTokens(ctx, t.ID, connection)
	if err != nil {
		return nil, err
	}
	return &shownConnectionTokens{listOf(tokens, h.tokenOfConnectionBody)}, nil
}

func (h *Handler) createConnectionToken(ctx context.Context, t *directory.Tenant, in *newConnectionToken) (*madeConnectionToken, error) {
	connection, err := in.id()
	if err != nil {
		return nil, err
	}
	expires := time.Time{}
	if in.Body != nil && in.Body.ExpiresAt != nil {
		expires = *in.Body.ExpiresAt
	}
	return h.madeTokenOfConnection(h.Directory.AddConnectionToken(ctx, t.ID, connection, expires))
}

func (h *Handler) rotateConnection(ctx context.Context, t *directory.Tenant, in *rotatedConnection) (*madeConnectionToken, error) {
	connection, err := in.id()
	if err != nil {
		return nil, err
	}
	expires, overlap := time.Time{}, directory.DefaultRotationOverlap
	if in.Body != nil && in.Body.ExpiresAt != nil {
		expires = *in.Body.ExpiresAt
	}
	if in.Body != nil && in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap) * time.Second
	}
	return h.madeTokenOfConnection(h.Directory.RotateConnection(ctx, t.ID, connection, expires, overlap))
}

// madeTokenOfConnection is the one answer that has a connection's secret in it.
func (h *Handler) madeTokenOfConnection(token *directory.ConnectionToken, made secret.Text, err error) (*madeConnectionToken, error) {
	if err != nil {
		return nil, err
	}
	out := &madeConnectionToken{}
	out.Body.ConnectionTokenBody, out.Body.Token = h.tokenOfConnectionBody(token), made.Reveal()
	return out, nil
}

func (h *Handler) revokeConnectionToken(ctx context.Context, t *directory.Tenant, in *connectionTokenAddress) (*struct{}, error) {
	connection, err := in.ConnectionAddress.id()
	if err != nil {
		return nil, err
	}
	token, err := id.Parse[id.ConnectionToken](in.ID)
	if err != nil {
		return nil, fault.New(fault.NotFound, "there is no such token")
	}
	return nil, h.Directory.RevokeConnectionToken(ctx, t.ID, connection, token)
}
