package directory

import (
	"maps"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/schema"
)

// A Group is a SCIM Group of a tenant (RFC 7643 §4.2). Its members are rows of
// their own and are not loaded with it.
type Group struct {
	Tenant      id.Tenant
	ID          id.Group
	DisplayName string // not unique
	ExternalID  string
	Profile     map[string]any // the other SCIM attributes
	Search      map[string]any // the twin that filters compare with
	Keys        []schema.Key   // where they are stored: nil leaves those that are there
	Version     int64
	Created     time.Time
	Modified    time.Time
}

const (
	attrDisplayName = "displayName"
	attrMembers     = "members"
)

// Document returns the resource as SCIM shows it, without id, meta and members.
// The caller may change it.
func (g *Group) Document() map[string]any {
	doc := maps.Clone(g.Profile)
	if doc == nil {
		doc = map[string]any{}
	}
	doc[attrDisplayName] = g.DisplayName
	if g.ExternalID != "" {
		doc[attrExternalID] = g.ExternalID
	}
	return doc
}

func (g *Group) setDocument(doc map[string]any) error {
	profile := maps.Clone(doc)
	name, _ := profile[attrDisplayName].(string)
	if name == "" {
		return fault.Field(fault.Invalid, attrDisplayName, "displayName is required and must not be empty")
	}
	g.DisplayName = name
	g.ExternalID, _ = profile[attrExternalID].(string)
	for _, kept := range []string{attrDisplayName, attrExternalID, attrMembers, "id", "meta"} {
		delete(profile, kept)
	}
	g.Profile = profile
	return nil
}

// MemberKind says what a member of a group is.
type MemberKind string

// The kinds of members.
const (
	MemberUser  MemberKind = "user"  // ID is a membership's
	MemberGroup MemberKind = "group" // ID is another group's
)

// A Member is one entry of a group's members.
type Member struct {
	ID      string // of a membership or a group of the same tenant
	Kind    MemberKind
	Display string // the member's name, where it is read; ignored where it is written
}

// A MemberChange is one step of changing a group's members. Steps are carried
// out in their order.
type MemberChange struct {
	Op  MemberOp
	IDs []string // of memberships and groups; empty for ClearMembers
}

// MemberOp is what a MemberChange does.
type MemberOp int

// The operations on members.
const (
	AddMembers     MemberOp = iota + 1 // adding a member again changes nothing
	RemoveMembers                      // removing a stranger changes nothing
	ReplaceMembers                     // leaves exactly the given members
	ClearMembers                       // leaves none
)

// A GroupRef is a group as a User resource shows it in its groups
// (RFC 7643 §4.1.2).
type GroupRef struct {
	ID      id.Group
	Display string
	Direct  bool // false: by way of a nested group
}
