package authz

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Change is a difference between two versions of a blueprint beside what its
// roles give, which [Diff] tells.
type Change struct {
	Section string     `json:"section"`       // as the file spells it, such as "tenants.tiers"
	Key     string     `json:"key,omitempty"` // of what changed in the section; empty for the section itself
	Kind    ChangeKind `json:"kind"`
	Fields  []string   `json:"fields,omitempty"` // what is different of it, where it is a mapping that both have
}

// ChangeKind says what happened to a part of a blueprint.
type ChangeKind string

// The kinds of changes.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// String returns the change as "membership.statuses: pending is removed".
func (c Change) String() string {
	what := string(c.Kind)
	if c.Kind == Changed {
		what = "different"
	}
	text := c.Section + ": is " + what
	if c.Key != "" {
		text = c.Section + ": " + c.Key + " is " + what
	}
	if len(c.Fields) > 0 {
		text += " (" + strings.Join(c.Fields, ", ") + ")"
	}
	return text
}

// Changes compares what two versions say of tenants, entitlements, statuses,
// policies and invariants, and what they say of the roles that both have, labels
// and descriptions aside.
func Changes(earlier, later *Blueprint) []Change {
	was, is := earlier.doc, later.doc
	return slices.Concat(
		changedEntries("tenants.relations", was.Tenants.Relations, is.Tenants.Relations),
		changedEntries("tenants.types", listed(was.Tenants.Types), listed(is.Tenants.Types)),
		changedEntries("tenants.tiers", was.Tenants.Tiers, is.Tenants.Tiers),
		changedEntries("tenants.statuses", was.Tenants.Statuses, is.Tenants.Statuses),
		changedEntries("entitlements", was.Entitlements, is.Entitlements),
		changedRoles(was.Roles, is.Roles),
		changedEntries("requires", was.Requires, is.Requires),
		changedEntries("admin_ops", was.AdminOps, is.AdminOps),
		changedEntries("admin_edit_fields", listed(was.AdminEditFields), listed(is.AdminEditFields)),
		changedSection("admin_password", was.AdminPassword, is.AdminPassword),
		changedSection("self", &was.Self, &is.Self),
		changedEntries("membership.statuses", was.Membership.Statuses, is.Membership.Statuses),
		changedSection("membership", membershipApart(was), membershipApart(is)),
		changedSection("invitation", was.Invitation, is.Invitation),
		changedSection("password", was.Password, is.Password),
		changedSection("password_reset", was.PasswordReset, is.PasswordReset),
		changedSection("signin", was.SignIn, is.SignIn),
		changedSection("mfa", was.MFA, is.MFA),
		changedSection("app_tokens", was.AppTokens, is.AppTokens),
		changedSection("support", was.Support, is.Support),
		changedEntries("requests", was.Requests, is.Requests),
		changedEntries("invariants", invariantsByName(was), invariantsByName(is)),
	)
}

// membershipApart is the membership section without its statuses, which are
// compared one by one.
func membershipApart(doc *Document) *MembershipRules {
	rules := doc.Membership
	rules.Statuses = nil
	return &rules
}

// listed makes a mapping of a list, to compare it key by key.
func listed(keys []string) Entries[struct{}] {
	var entries Entries[struct{}]
	for _, key := range keys {
		entries = append(entries, Entry[struct{}]{Key: key})
	}
	return entries
}

func invariantsByName(doc *Document) Entries[Invariant] {
	var entries Entries[Invariant]
	for _, inv := range doc.Invariants {
		name := fmt.Sprintf("%s %d", inv.Rule, inv.N)
		if roles := inv.RoleKeys(); len(roles) > 0 {
			name += " of " + strings.Join(roles, " or ")
		}
		inv.Source = "" // where the rule was found changes nothing
		entries = append(entries, Entry[Invariant]{Key: name, Value: inv})
	}
	return entries
}

// changedRoles compares the declarations of roles that both versions have.
func changedRoles(was, is Entries[RoleDecl]) []Change {
	plain := func(decl RoleDecl) RoleDecl {
		decl.Label, decl.About, decl.Badge = "", "", ""
		return decl
	}
	var changes []Change
	for _, role := range was {
		if decl, kept := is.Lookup(role.Key); kept {
			changes = append(changes, changed("roles", role.Key, plain(role.Value), plain(decl))...)
		}
	}
	return changes
}

func changedEntries[T any](section string, was, is Entries[T]) []Change {
	var changes []Change
	for _, entry := range was {
		value, kept := is.Lookup(entry.Key)
		if !kept {
			changes = append(changes, Change{Section: section, Key: entry.Key, Kind: Removed})
			continue
		}
		changes = append(changes, changed(section, entry.Key, entry.Value, value)...)
	}
	for _, entry := range is {
		if _, had := was.Lookup(entry.Key); !had {
			changes = append(changes, Change{Section: section, Key: entry.Key, Kind: Added})
		}
	}
	return changes
}

// changedSection compares sections that may be left out.
func changedSection[T any](section string, was, is *T) []Change {
	switch {
	case was == nil && is == nil:
		return nil
	case was == nil:
		return []Change{{Section: section, Kind: Added}}
	case is == nil:
		return []Change{{Section: section, Kind: Removed}}
	}
	return changed(section, "", *was, *is)
}

// changed compares two values and names the fields of mappings that differ.
func changed(section, key string, was, is any) []Change {
	if reflect.DeepEqual(was, is) {
		return nil
	}
	c := Change{Section: section, Key: key, Kind: Changed}
	a, b := reflect.ValueOf(was), reflect.ValueOf(is)
	if a.Kind() != reflect.Struct {
		return []Change{c}
	}
	for field, value := range a.Fields() {
		if reflect.DeepEqual(value.Interface(), b.FieldByIndex(field.Index).Interface()) {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if name == "" {
			name = strings.ToLower(field.Name)
		}
		c.Fields = append(c.Fields, name)
	}
	return []Change{c}
}
