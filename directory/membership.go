package directory

import (
	"maps"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/scim/schema"
)

// Status is where a membership stands. Which statuses may sign in, and what
// they are called, is the blueprint's; these three every role system has.
type Status string

// The statuses of a membership.
const (
	StatusInvited   Status = "invited"   // waits for the person's acceptance: no claim, role or session
	StatusActive    Status = "active"    // may sign in
	StatusSuspended Status = "suspended" // switched off; SCIM shows active:false
)

// Source says who made a membership and so owns its profile.
type Source string

// The sources of memberships.
const (
	SourceSCIM     Source = "scim"
	SourceOperator Source = "operator"
	SourceSelf     Source = "self" // the person has registered
)

// A Membership is a user in a tenant: the SCIM User resource.
type Membership struct {
	Tenant       id.Tenant
	ID           id.Membership
	User         id.User
	Status       Status
	Accepted     bool // the person or the operator agreed; otherwise a return from suspension leads to invited
	Managed      bool // the tenant has verified the domain of the user's address
	Source       Source
	UserName     string         // unique within the tenant, ignoring case (RFC 7643 §4.1.1)
	ExternalID   string         // the directory's own identifier; case counts
	Profile      map[string]any // the other SCIM attributes, in canonical spelling
	Search       map[string]any // the twin that filters compare with; see scim/schema
	Keys         []schema.Key   // where they are stored: nil leaves those that are there
	Retired      time.Time      // since when it is suspended and gone for SCIM, because its directory has deleted it; zero: it is not
	SecondFactor bool           // it is demanded of this member, where the role system knows that
	Version      int64          // goes up by one with every change; the SCIM ETag
	Created      time.Time
	Modified     time.Time
}

// Names of the SCIM attributes that are columns rather than profile.
const (
	attrUserName   = "userName"
	attrExternalID = "externalId"
	attrActive     = "active"
	attrPassword   = "password"
)

func (m *Membership) retired() bool { return !m.Retired.IsZero() }

// Document returns the resource as SCIM shows it, without id, meta and groups.
// The caller may change it.
func (m *Membership) Document() map[string]any {
	doc := maps.Clone(m.Profile)
	if doc == nil {
		doc = map[string]any{}
	}
	doc[attrUserName] = m.UserName
	doc[attrActive] = m.Status != StatusSuspended
	if m.ExternalID != "" {
		doc[attrExternalID] = m.ExternalID
	}
	return doc
}

// setDocument takes over a document that scim/schema has validated. It returns
// what the document asks beside the profile: whether the member is active, and
// a password.
func (m *Membership) setDocument(doc map[string]any) (active bool, password secret.Text, err error) {
	profile := maps.Clone(doc)
	userName, _ := profile[attrUserName].(string)
	if userName == "" {
		return false, secret.Text{}, fault.Field(fault.Invalid, attrUserName, "userName is required and must not be empty")
	}
	active = true
	if value, ok := profile[attrActive].(bool); ok {
		active = value
	}
	if value, ok := profile[attrPassword].(string); ok {
		password = secret.NewText(value)
	}
	m.UserName = userName
	m.ExternalID, _ = profile[attrExternalID].(string)
	for _, kept := range []string{attrUserName, attrExternalID, attrActive, attrPassword, "id", "meta", "groups"} {
		delete(profile, kept)
	}
	m.Profile = profile
	return active, password, nil
}

// address returns the address that the document offers to sign in with: the
// primary e-mail, else the one of type work, else the first, else a userName
// that is an address. ok is false where there is none.
func (m *Membership) address() (address string, ok bool) {
	best, rank := "", 0
	emails, _ := m.Profile["emails"].([]any)
	for _, entry := range emails {
		email, _ := entry.(map[string]any)
		value, _ := email["value"].(string)
		if _, ok := ParseEmail(value); !ok {
			continue
		}
		r := 1
		if email["type"] == "work" {
			r = 2
		}
		if email["primary"] == true {
			r = 3
		}
		if r > rank {
			best, rank = value, r
		}
	}
	if rank > 0 {
		return best, true
	}
	return ParseEmail(m.UserName)
}

// name returns the person's name as the document has it.
func (m *Membership) name() Name {
	parts, _ := m.Profile["name"].(map[string]any)
	given, _ := parts["givenName"].(string)
	family, _ := parts["familyName"].(string)
	formatted, _ := parts["formatted"].(string)
	display, _ := m.Profile["displayName"].(string)
	if display == "" {
		display = formatted
	}
	return Name{Given: given, Family: family, Display: display}
}

// timeZone returns the zone that the document names (RFC 7643 §4.1.1), if it is
// one, else "".
func (m *Membership) timeZone() string {
	if zone, _ := m.Profile["timezone"].(string); knownZone(zone) {
		return zone
	}
	return ""
}

// statusAfter returns the status that a wish to be active leads to.
func (m *Membership) statusAfter(active bool) Status {
	switch {
	case !active:
		return StatusSuspended
	case m.Status != StatusSuspended:
		return m.Status
	case m.Accepted:
		return StatusActive
	default:
		return StatusInvited
	}
}
