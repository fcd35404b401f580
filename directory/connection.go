package directory

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A Connection is what a tenant's directory pushes through: its SCIM endpoint
// with the credentials and the dialect of one client.
type Connection struct {
	Tenant         id.Tenant
	Slug           string // the tenant's, where the connection was found by a credential
	ID             id.Connection
	Name           string // unique in the tenant
	Profile        ConnectionProfile
	Application    string    // client_id of the machine that may act as the connection; empty: none
	Paused         time.Time // since when nothing is accepted; zero: it is not paused
	PauseReason    string    // as the administrator gave it
	RateLimit      RateLimit
	Guard          Guard
	Deprovisioning Deprovisioning
	Mappings       []AttributeMapping
	Created        time.Time
	Modified       time.Time

	// Token is the one by which the connection was found; nil: by its application,
	// or not by a credential.
	Token *ConnectionToken
}

// same reports whether storing o in the place of c would change nothing.
func (c *Connection) same(o *Connection) bool {
	return c.Name == o.Name && c.Profile == o.Profile && c.Application == o.Application && c.Paused.Equal(o.Paused) && c.PauseReason == o.PauseReason &&
		c.RateLimit == o.RateLimit && c.Guard == o.Guard && c.Deprovisioning == o.Deprovisioning && slices.Equal(c.Mappings, o.Mappings)
}

// ConnectionProfile is the dialect that a SCIM client speaks.
type ConnectionProfile string

// The profiles of connections.
const (
	ProfileRFC   ConnectionProfile = "rfc"   // RFC 7644 by the letter
	ProfileEntra ConnectionProfile = "entra" // Microsoft Entra ID
	ProfileOkta  ConnectionProfile = "okta"
)

// A RateLimit bounds how many requests a connection may send to one node. The
// zero value is no limit.
type RateLimit struct {
	PerSecond int // 0: any number
	Burst     int // how many may come at once; at least 1 where there is a limit
}

// Deprovisioning says what becomes of a membership that the directory deletes.
type Deprovisioning string

// What DELETE does. Either way the resource is gone for SCIM.
const (
	DeprovisionDelete  Deprovisioning = "delete"  // the membership ends
	DeprovisionSuspend Deprovisioning = "suspend" // it is kept, suspended, until the directory pushes the person anew
)

// A ConnectionToken is a secret of a connection, without the secret.
type ConnectionToken struct {
	Tenant     id.Tenant
	Connection id.Connection
	ID         id.ConnectionToken
	Created    time.Time
	Expires    time.Time // zero: never
	LastUsed   time.Time // to a minute; zero: never
}

// CodeTokenExpired is the Code of the failure for a token that has expired.
const CodeTokenExpired = "token_expired"

// live reports whether the token is accepted at a time.
func (t *ConnectionToken) live(now time.Time) bool {
	return t.Expires.IsZero() || now.Before(t.Expires)
}

// Bounds of what a connection can be given.
const (
	maxConnectionName   = 100 // characters
	maxPauseReason      = 500 // characters
	maxRate             = 100_000
	maxConnectionTokens = 100 // tokens of a connection, those included that have expired
	maxGuardPeople      = 10_000_000
	maxGuardWindow      = 7 * 24 * time.Hour
	defaultGuardWindow  = time.Hour
	maxMappings         = 20
)

// ConnectionSettings are what of a connection is to be another; nil leaves it as
// it is, or at its default.
type ConnectionSettings struct {
	Name           *string
	Profile        *ConnectionProfile
	Application    *string // client_id of a machine of the tenant; empty: none
	RateLimit      *RateLimit
	Guard          *GuardLimits
	Deprovisioning *Deprovisioning
	Mappings       *[]AttributeMapping
}

// applySettings brings c to the settings. It fails with fault.Invalid and the name of
// the member in the API.
func (d *Directory) applySettings(ctx context.Context, c *Connection, s ConnectionSettings) error {
	if s.Name != nil {
		c.Name = strings.TrimSpace(*s.Name)
	}
	if s.Profile != nil {
		c.Profile = *s.Profile
	}
	if s.Application != nil {
		c.Application = *s.Application
	}
	if s.RateLimit != nil {
		c.RateLimit = *s.RateLimit
	}
	if s.Guard != nil {
		limits := *s.Guard
		if limits.Window == 0 {
			limits.Window = defaultGuardWindow
		}
		if !limits.On() {
			limits = GuardLimits{}
		}
		if limits != c.Guard.GuardLimits {
			c.Guard.GuardLimits = limits
			if !limits.On() {
				c.Guard = Guard{}
			}
		}
	}
	if s.Deprovisioning != nil {
		c.Deprovisioning = *s.Deprovisioning
	}
	if s.Mappings != nil {
		c.Mappings = *s.Mappings
	}
	return d.checkConnection(ctx, c)
}

func (d *Directory) checkConnection(ctx context.Context, c *Connection) error {
	switch {
	case c.Name == "":
		return fault.Field(fault.Invalid, "name", "a connection needs a name")
	case strings.ContainsFunc(c.Name, unicode.IsControl) || !utf8.ValidString(c.Name):
		return fault.Field(fault.Invalid, "name", "must not have control characters")
	case utf8.RuneCountInString(c.Name) > maxConnectionName:
		return fault.Field(fault.Invalid, "name", "must not be longer than %d characters", maxConnectionName)
	}
	switch c.Profile {
	case ProfileRFC, ProfileEntra, ProfileOkta:
	default:
		return fault.Field(fault.Invalid, "profile", "%q is not one of rfc, entra, okta", c.Profile)
	}
	switch c.Deprovisioning {
	case DeprovisionDelete, DeprovisionSuspend:
	default:
		return fault.Field(fault.Invalid, "deprovisioning", "%q is not one of delete, suspend", c.Deprovisioning)
	}
	if err := c.RateLimit.check(); err != nil {
		return err
	}
	if err := c.Guard.check(); err != nil {
		return err
	}
	return d.checkMappings(ctx, c.Tenant, c.Mappings)
}

func (r RateLimit) check() error {
	switch {
	case r == RateLimit{}:
		return nil
	case r.PerSecond < 0 || r.PerSecond > maxRate:
		return fault.Field(fault.Invalid, "rate_limit.per_second", "must be between 0, for no limit, and %d", maxRate)
	case r.PerSecond == 0 && r.Burst != 0:
		return fault.Field(fault.Invalid, "rate_limit.per_second", "a burst needs a rate")
	case r.PerSecond > 0 && (r.Burst < 1 || r.Burst > maxRate):
		return fault.Field(fault.Invalid, "rate_limit.burst", "must be between 1 and %d", maxRate)
	}
	return nil
}
