// Package outbound pushes a tenant's people and groups onward to other SCIM
// servers. A target says where to, and whom. What changes is noted in the
// transaction of the change, one note for each resource however often it
// changes; a worker brings the target to what is there at that moment, and keeps
// a link between the resource here and the one there. A run compares everything
// with the target, by schedule and on demand, and repairs what differs.
//
// The protocol is spoken by an implementation of Remote, package scim/client.
package outbound

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// A Target is a SCIM server that a tenant pushes to.
type Target struct {
	Tenant  id.Tenant
	ID      id.ProvisioningTarget
	Name    string // unique in the tenant
	BaseURL string // without a slash at the end
	Auth    Auth
	People  People
	Groups  Groups
	// Attributes says which attributes are sent.
	Attributes Attributes
	OnRemoval  Removal
	RunEvery   time.Duration // between runs; 0: none by schedule
	Status     Status

	Secret       []byte // the token or the client secret, sealed; nil: none
	Failures     int    // of the target as a whole, since something last succeeded
	LastError    string // of the last of them
	Due          time.Time
	Claimed      time.Time // until when a node works on it
	ScanAt       time.Time // when links are next compared with what is here; zero: by notes only
	RunAt        time.Time // when the next run by schedule is due; zero: never
	Succeeded    time.Time // when something last succeeded; zero: nothing has
	Capabilities *Capabilities
	Created      time.Time
	Modified     time.Time
}

// Auth is how the target knows who pushes.
type Auth struct {
	Method   AuthMethod `json:"method"`
	TokenURL string     `json:"token_url,omitempty"` // of OAuth
	ClientID string     `json:"client_id,omitempty"`
	Scope    string     `json:"scope,omitempty"`
}

// AuthMethod is a kind of credential.
type AuthMethod string

// The kinds of credentials.
const (
	Bearer            AuthMethod = "bearer"             // a token that somebody has made there
	ClientCredentials AuthMethod = "client_credentials" // RFC 6749 §4.4
)

// People says which members of the tenant are pushed.
type People struct {
	Scope  PeopleScope `json:"scope"`
	Groups []id.Group  `json:"groups,omitempty"` // of InGroups
	Roles  []string    `json:"roles,omitempty"`  // of WithRoles
}

// PeopleScope is a way of choosing people.
type PeopleScope string

// The ways of choosing people.
const (
	AllPeople PeopleScope = "all"
	InGroups  PeopleScope = "groups" // members of the groups, by nested groups too
	WithRoles PeopleScope = "roles"  // who holds one of the roles, directly or by a group
)

// Groups says which groups are pushed.
type Groups struct {
	Scope  GroupScope `json:"scope"`
	Groups []id.Group `json:"groups,omitempty"` // of ChosenGroups
}

// GroupScope is a way of choosing groups.
type GroupScope string

// The ways of choosing groups.
const (
	NoGroups     GroupScope = "none"
	AllGroups    GroupScope = "all"
	ChosenGroups GroupScope = "chosen"
)

// Attributes says which attributes are sent: those of Include, or all where it is
// empty, but for those of Exclude. Each is an attribute of the top level, an
// extension's URI, or one of an extension's attributes behind that URI and a
// colon. userName, displayName of groups, active and externalId are always sent.
type Attributes struct {
	Include    []string   `json:"include,omitempty"`
	Exclude    []string   `json:"exclude,omitempty"`
	ExternalID ExternalID `json:"external_id"`
}

// ExternalID says what a resource has as externalId there (RFC 7643 §3.1).
type ExternalID string

// The kinds of externalId.
const (
	OwnID      ExternalID = "id"          // its id here, which never changes
	SameAsHere ExternalID = "external_id" // the one that it has here, if any
)

// Removal says what becomes there of a resource that is deleted here, or is not
// to be pushed any more.
type Removal string

// What becomes of resources.
const (
	Delete     Removal = "delete"
	Deactivate Removal = "deactivate" // a person is switched off, a group emptied
	Leave      Removal = "leave"      // it stays as it is, and is a stranger from then on
)

// Status says whether anything is sent.
type Status string

// The statuses of a target.
const (
	Active Status = "active"
	Paused Status = "paused" // changes are noted and wait
)

// Settings are what can be said of a target. Nil leaves it as it is.
type Settings struct {
	Name       *string
	BaseURL    *string
	Auth       *Auth
	Secret     *secret.Text
	People     *People
	Groups     *Groups
	Attributes *Attributes
	OnRemoval  *Removal
	RunEvery   *time.Duration
	Status     *Status
}

// Limits of targets.
const (
	maxTargets  = 10 // of one tenant
	maxName     = 100
	maxURL      = 1000
	maxSecret   = 4000
	maxChosen   = 100
	maxRunEvery = 30 * 24 * time.Hour
	minRunEvery = 15 * time.Minute

	defaultRunEvery = 24 * time.Hour
)

// place is what binds a sealed secret to its target. It is tied to the address
// that the secret is sent to: whoever may change the one can't have the other
// sent elsewhere without knowing it.
func (t *Target) place() string {
	return "provisioning_targets/" + string(t.Tenant) + "/" + string(t.ID) + "/" + t.BaseURL + " " + t.Auth.TokenURL
}

// apply brings the target to the settings, but for the secret.
func (t *Target) apply(s Settings, private bool) error {
	if s.Name != nil {
		t.Name = strings.TrimSpace(*s.Name)
	}
	if s.BaseURL != nil {
		t.BaseURL = strings.TrimRight(strings.TrimSpace(*s.BaseURL), "/")
	}
	set(&t.Auth, s.Auth)
	set(&t.People, s.People)
	set(&t.Groups, s.Groups)
	if s.Attributes != nil {
		t.Attributes = *s.Attributes
		if t.Attributes.ExternalID == "" {
			t.Attributes.ExternalID = OwnID
		}
	}
	set(&t.OnRemoval, s.OnRemoval)
	set(&t.RunEvery, s.RunEvery)
	set(&t.Status, s.Status)
	return t.validate(private)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (t *Target) validate(private bool) error {
	switch {
	case t.Name == "" || !isText(t.Name, maxName):
		return fault.Field(fault.Invalid, "name", "must be text of 1 to %d characters", maxName)
	case !isAddress(t.BaseURL, private):
		return fault.Field(fault.Invalid, "base_url", "an https address without credentials, query and fragment is expected")
	case t.OnRemoval != Delete && t.OnRemoval != Deactivate && t.OnRemoval != Leave:
		return fault.Field(fault.Invalid, "on_removal", "must be delete, deactivate or leave")
	case t.Status != Active && t.Status != Paused:
		return fault.Field(fault.Invalid, "status", "must be active or paused")
	case t.RunEvery != 0 && (t.RunEvery < minRunEvery || t.RunEvery > maxRunEvery):
		return fault.Field(fault.Invalid, "run_every", "must be 0 or from %v to %v", minRunEvery, maxRunEvery)
	}
	for _, check := range []func() error{func() error { return t.Auth.validate(private) }, t.People.validate, t.Groups.validate, t.Attributes.validate} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (a *Auth) validate(private bool) error {
	switch a.Method {
	case Bearer:
		if a.TokenURL != "" || a.ClientID != "" || a.Scope != "" {
			return fault.Field(fault.Invalid, "auth", "token_url, client_id and scope belong to the method client_credentials")
		}
	case ClientCredentials:
		switch {
		case !isAddress(a.TokenURL, private):
			return fault.Field(fault.Invalid, "auth.token_url", "an https address without credentials, query and fragment is expected")
		case a.ClientID == "" || !isText(a.ClientID, maxURL):
			return fault.Field(fault.Invalid, "auth.client_id", "must be text of 1 to %d characters", maxURL)
		case !isText(a.Scope, maxURL):
			return fault.Field(fault.Invalid, "auth.scope", "must be text of at most %d characters", maxURL)
		}
	default:
		return fault.Field(fault.Invalid, "auth.method", "must be bearer or client_credentials")
	}
	return nil
}

func (p *People) validate() error {
	switch {
	case p.Scope != AllPeople && p.Scope != InGroups && p.Scope != WithRoles:
		return fault.Field(fault.Invalid, "people.scope", "must be all, groups or roles")
	case (p.Scope == InGroups) != (len(p.Groups) > 0):
		return fault.Field(fault.Invalid, "people.groups", "the scope groups needs groups, and no other has them")
	case (p.Scope == WithRoles) != (len(p.Roles) > 0):
		return fault.Field(fault.Invalid, "people.roles", "the scope roles needs roles, and no other has them")
	case len(p.Groups) > maxChosen || len(p.Roles) > maxChosen:
		return fault.Field(fault.Invalid, "people", "at most %d can be chosen", maxChosen)
	}
	return nil
}

func (g *Groups) validate() error {
	switch {
	case g.Scope != NoGroups && g.Scope != AllGroups && g.Scope != ChosenGroups:
		return fault.Field(fault.Invalid, "groups.scope", "must be none, all or chosen")
	case (g.Scope == ChosenGroups) != (len(g.Groups) > 0):
		return fault.Field(fault.Invalid, "groups.groups", "the scope chosen needs groups, and no other has them")
	case len(g.Groups) > maxChosen:
		return fault.Field(fault.Invalid, "groups", "at most %d can be chosen", maxChosen)
	}
	return nil
}

func (a *Attributes) validate() error {
	if a.ExternalID != OwnID && a.ExternalID != SameAsHere {
		return fault.Field(fault.Invalid, "attributes.external_id", "must be id or external_id")
	}
	for _, name := range slices.Concat(a.Include, a.Exclude) {
		if name == "" || !isText(name, 200) {
			return fault.Field(fault.Invalid, "attributes", "%.200q is no name of an attribute", name)
		}
	}
	if len(a.Include)+len(a.Exclude) > 2*maxChosen {
		return fault.Field(fault.Invalid, "attributes", "at most %d can be named", 2*maxChosen)
	}
	return nil
}

// wants reports whether the attribute is sent: one of the top level, or an
// extension's, whose URI is given then.
func (a *Attributes) wants(extension, name string) bool {
	full := name
	if extension != "" {
		full = extension + ":" + name
	}
	named := func(list []string) bool {
		return slices.ContainsFunc(list, func(one string) bool {
			return strings.EqualFold(one, full) || extension != "" && strings.EqualFold(one, extension)
		})
	}
	return (len(a.Include) == 0 || named(a.Include)) && !named(a.Exclude)
}

// isAddress wants https, or http at a loopback address where the operator allows
// addresses that are not of the public Internet.
func isAddress(address string, private bool) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || !isText(address, maxURL) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && private && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// isText reports whether every database takes the text, and it is not too long.
func isText(text string, most int) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0) && utf8.RuneCountInString(text) <= most
}
