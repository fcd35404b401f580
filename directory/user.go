package directory

import (
	"net/mail"
	"strings"
	"time"
	_ "time/tzdata" // so that names of zones mean the same on every machine
	"unicode"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A User is a person with one login in the instance; the ID is the claim "sub".
// Users belong to no tenant.
type User struct {
	ID            id.User
	Email         string // the address to sign in with; empty for those who can't
	EmailVerified bool   // proven by a verified domain or by the operator's word
	Name          Name
	Locale        string // BCP 47, or empty
	TimeZone      string // an IANA name, or empty for UTC
	Operator      bool   // runs the instance; never managed by a tenant
	Disabled      bool   // the login is switched off: no sign-in, no refresh
	Version       int64
	Created       time.Time
	Modified      time.Time
}

// Name is how a person is called.
type Name struct {
	Given   string
	Family  string
	Display string // what pages show; made of the others where it is empty
}

// String returns the name to show.
func (n Name) String() string {
	if n.Display != "" {
		return n.Display
	}
	return strings.TrimSpace(n.Given + " " + n.Family)
}

// Zone returns the zone that times are shown in to the user.
func (u *User) Zone() *time.Location {
	zone, err := time.LoadLocation(u.TimeZone)
	if err != nil {
		return time.UTC // the name has gone from the database of zones since
	}
	return zone
}

// knownZone reports whether the name is that of a zone everywhere; "Local" is
// another one on each machine.
func knownZone(name string) bool {
	if name == "" || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

// Fold returns the key by which addresses and names are compared without case.
func Fold(s string) string { return schema.Fold(s) }

// maxEmail bounds an address, in bytes (RFC 5321 §4.5.3.1.3).
const maxEmail = 254

// ParseEmail returns the address in s if s is a bare e-mail address. It is the one
// rule of what an address is, whoever writes it down.
func ParseEmail(s string) (address string, ok bool) {
	parsed, err := mail.ParseAddress(s)
	if err != nil || parsed.Name != "" || parsed.Address != s || len(s) > maxEmail || strings.ContainsFunc(s, unicode.IsControl) {
		return "", false
	}
	return s, true
}

// domainOf returns the domain of an address in lower case.
func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}
