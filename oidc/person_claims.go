package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
)

// PersonClaims are the standard claims about a person (OIDC Core §5.1). Those
// that a directory knows are of the membership that the person is signed in by.
type PersonClaims struct {
	ProfileClaims
	EmailClaims
	PhoneClaims
	Address *AddressClaim `json:"address,omitempty"` // scope address
}

// ProfileClaims are the claims of scope profile (OIDC Core §5.4).
type ProfileClaims struct {
	Name              string `json:"name,omitempty"`
	GivenName         string `json:"given_name,omitempty"`
	MiddleName        string `json:"middle_name,omitempty"`
	FamilyName        string `json:"family_name,omitempty"`
	Nickname          string `json:"nickname,omitempty"`
	PreferredUsername string `json:"preferred_username,omitempty"` // as the tenant in use calls the person
	Profile           string `json:"profile,omitempty"`
	Picture           string `json:"picture,omitempty"`
	ZoneInfo          string `json:"zoneinfo,omitempty"`
	Locale            string `json:"locale,omitempty"`
	UpdatedAt         int64  `json:"updated_at,omitempty"`
}

// EmailClaims are the claims of scope email (OIDC Core §5.4).
type EmailClaims struct {
	Email         string `json:"email,omitempty"`
	EmailVerified *bool  `json:"email_verified,omitempty"`
}

// PhoneClaims are the claims of scope phone (OIDC Core §5.4). No number is
// verified here: it is as the directory has it.
type PhoneClaims struct {
	PhoneNumber         string `json:"phone_number,omitempty"`
	PhoneNumberVerified *bool  `json:"phone_number_verified,omitempty"`
}

// An AddressClaim is the claim address (OIDC Core §5.1.1).
type AddressClaim struct {
	Formatted     string `json:"formatted,omitempty"`
	StreetAddress string `json:"street_address,omitempty"`
	Locality      string `json:"locality,omitempty"`
	Region        string `json:"region,omitempty"`
	PostalCode    string `json:"postal_code,omitempty"`
	Country       string `json:"country,omitempty"`
}

// personClaimNames are the claims of PersonClaims by their scopes.
func personClaimNames(scope string) []string {
	switch scope {
	case ScopeProfile:
		return []string{
			"name", "given_name", "middle_name", "family_name", "nickname", "preferred_username", "profile", "picture", "zoneinfo", "locale", "updated_at",
		}
	case ScopeEmail:
		return []string{"email", "email_verified"}
	case ScopePhone:
		return []string{"phone_number", "phone_number_verified"}
	case ScopeAddress:
		return []string{"address"}
	}
	return nil
}

// scopeOfClaim returns the scope that stands for a claim which can be asked for
// by name, "" for any other.
func scopeOfClaim(name string) string {
	if name == ScopeGroups || name == ScopePermissions || name == ScopeTenants {
		return name // these are called as their claim
	}
	for _, scope := range []string{ScopeProfile, ScopeEmail, ScopePhone, ScopeAddress} {
		if slices.Contains(personClaimNames(scope), name) {
			return scope
		}
	}
	return ""
}

// asScopes returns the scopes with those of the tenant's claims that are asked
// for by name.
func asScopes(scopes, names []string) []string {
	all := slices.Clone(scopes)
	for _, name := range names {
		if scope := scopeOfClaim(name); scope == ScopeGroups || scope == ScopePermissions || scope == ScopeTenants {
			all = append(all, scope)
		}
	}
	return all
}

// wantedClaims returns the names of the person's claims that the scopes stand
// for, and those that are asked for by name.
func wantedClaims(scopes, names []string) map[string]bool {
	wanted := map[string]bool{}
	for _, scope := range scopes {
		for _, name := range personClaimNames(scope) {
			wanted[name] = true
		}
	}
	for _, name := range names {
		wanted[name] = true
	}
	return wanted
}

// profile is what a directory says of a person.
type profile struct {
	attributes map[string]any // as SCIM has them
	modified   time.Time
}

// profileOf returns the profile of the membership that the person is signed in by:
// the grant's, which has been read, unless the person is in by another one since.
func (o *OIDC) profileOf(ctx context.Context, s *directory.Standing, live *Live) (profile, error) {
	if live != nil && live.Home == s.Home && live.Membership == s.Membership {
		read := profile{modified: live.ProfileModified}
		if live.Profile == "" {
			return read, nil
		}
		if err := json.Unmarshal([]byte(live.Profile), &read.attributes); err != nil {
			return read, fmt.Errorf("decode the profile of %s: %w", live.Membership, err)
		}
		return read, nil
	}
	m, err := o.store.Membership(ctx, s.Home, s.Membership)
	if errors.Is(err, fault.NotFound) {
		return profile{}, nil
	}
	if err != nil {
		return profile{}, err
	}
	return profile{m.Profile, m.Modified}, nil
}

// personClaims returns those of the person's claims that are wanted. The profile
// is looked at only where it is that which knows them; live is the grant that they
// are for, nil in a support session.
func (o *OIDC) personClaims(ctx context.Context, s *directory.Standing, wanted map[string]bool, live *Live) (PersonClaims, error) {
	var c PersonClaims
	var p profile
	if wanted["middle_name"] || wanted["nickname"] || wanted["profile"] || wanted["picture"] || wanted["zoneinfo"] || wanted["updated_at"] ||
		wanted["phone_number"] || wanted["phone_number_verified"] || wanted["address"] {
		var err error
		if p, err = o.profileOf(ctx, s, live); err != nil {
			return c, err
		}
	}
	for _, claim := range []struct {
		name, value string
		into        *string
	}{
		{"name", s.User.Name.String(), &c.Name},
		{"given_name", s.User.Name.Given, &c.GivenName},
		{"middle_name", text(p.attributes, "name", "middleName"), &c.MiddleName},
		{"family_name", s.User.Name.Family, &c.FamilyName},
		{"nickname", text(p.attributes, "nickName"), &c.Nickname},
		{"preferred_username", s.UserName, &c.PreferredUsername},
		{"profile", text(p.attributes, "profileUrl"), &c.Profile},
		{"picture", text(preferredValue(p.attributes, "photos"), "value"), &c.Picture},
		{"zoneinfo", s.User.TimeZone, &c.ZoneInfo},
		{"locale", s.User.Locale, &c.Locale},
		{"email", s.User.Email, &c.Email},
		{"phone_number", phoneNumber(text(preferredValue(p.attributes, "phoneNumbers"), "value")), &c.PhoneNumber},
	} {
		if wanted[claim.name] {
			*claim.into = claim.value
		}
	}
	if c.ZoneInfo == "" && wanted["zoneinfo"] {
		c.ZoneInfo = text(p.attributes, "timezone")
	}
	if wanted["updated_at"] {
		c.UpdatedAt = max(s.User.Modified.Unix(), p.modified.Unix())
	}
	if wanted["email_verified"] && s.User.Email != "" {
		c.EmailVerified = new(s.User.EmailVerified)
	}
	if wanted["phone_number_verified"] && text(preferredValue(p.attributes, "phoneNumbers"), "value") != "" {
		c.PhoneNumberVerified = new(false)
	}
	if wanted["address"] {
		c.Address = addressClaim(preferredValue(p.attributes, "addresses"))
	}
	return c, nil
}

// addressClaim returns the claim of a SCIM address (RFC 7643 §4.1.2), nil where
// there is nothing in it.
func addressClaim(address map[string]any) *AddressClaim {
	c := AddressClaim{
		Formatted: text(address, "formatted"), StreetAddress: text(address, "streetAddress"), Locality: text(address, "locality"),
		Region: text(address, "region"), PostalCode: text(address, "postalCode"), Country: text(address, "country"),
	}
	if c == (AddressClaim{}) {
		return nil
	}
	return &c
}

// phoneNumber returns the number of a SCIM value, which may be a URI of RFC 3966
// with parameters (RFC 7643 §4.1.2).
func phoneNumber(value string) string {
	if rest, found := strings.CutPrefix(value, "tel:"); found {
		number, extension, extended := strings.Cut(rest, ";ext=")
		number, _, _ = strings.Cut(number, ";")
		if extension, _, _ = strings.Cut(extension, ";"); extended && extension != "" {
			number += ";ext=" + extension // as OIDC Core §5.1 has it
		}
		return number
	}
	return value
}

// text returns the text at a path of a SCIM document, "" where there is none.
func text(document map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		document, _ = document[name].(map[string]any)
	}
	value, _ := document[path[len(path)-1]].(string)
	return value
}

// preferredValue returns the primary value of a multi-valued attribute, else the
// first (RFC 7643 §2.4).
func preferredValue(document map[string]any, name string) map[string]any {
	values, _ := document[name].([]any)
	var chosen map[string]any
	for _, value := range values {
		v, _ := value.(map[string]any)
		if primary, _ := v["primary"].(bool); primary {
			return v
		}
		if chosen == nil {
			chosen = v
		}
	}
	return chosen
}
