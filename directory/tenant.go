package directory

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// A Tenant is a customer's space.
type Tenant struct {
	ID        id.Tenant
	Slug      string // unique in the instance; the tenant's name in addresses
	Name      string
	Blueprint string // the role system's name
	// BlueprintVersion is the version of the role system that the tenant is on.
	BlueprintVersion int
	Type             string // a label of the blueprint; carries no right
	Tier             string // a bundle of entitlements of the blueprint; may be empty
	Status           string // a tenant status of the blueprint, such as "enabled"
	Policy           Policy
	Domains          []string             // verified; lower case
	Entitlements     []Entitlement        // beside the tier's; by key and source
	Relations        map[string]id.Tenant // relation name → parent tenant
	Contact          id.Membership        // the contact person, a marker without rights; empty: none
	DefaultRole      string               // of people whom the directory pushes and to whom nothing else gives one; empty: none
	Version          int64
	Created          time.Time
	Modified         time.Time
}

// entitle adds entitlements by the operator's word, and the grant option to
// those that are to have it; neither is taken from one that is there.
func (t *Tenant) entitle(keys, grantable []string) {
	for _, key := range slices.Concat(keys, grantable) {
		given := t.entitlement(key, EntitledOperator)
		if given == nil {
			t.Entitlements = append(t.Entitlements, Entitlement{Key: key, Source: EntitledOperator})
			given = &t.Entitlements[len(t.Entitlements)-1]
		}
		given.Grantable = given.Grantable || slices.Contains(grantable, key)
	}
	slices.SortFunc(t.Entitlements, func(a, b Entitlement) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Source, b.Source)) })
}

// An Entitlement is what a tenant is entitled to, and by whose word.
type Entitlement struct {
	Key       string
	Source    EntitlementSource
	Giver     id.Tenant // for EntitlementDelegated: the parent that passed it on
	Grantable bool      // the grant option: the tenant may pass it on to its children
}

// EntitlementSource says by whose word a tenant has an entitlement.
type EntitlementSource string

// The sources of entitlements beside a tenant's tier.
const (
	EntitledOperator  EntitlementSource = "operator"
	EntitledDelegated EntitlementSource = "delegated"
)

var (
	slugForm   = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	domainForm = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
)

// Validate checks the fields that don't depend on the blueprint. It fails with
// fault.Invalid and the field's name in the file of apply.
func (t *Tenant) Validate() error {
	if !slugForm.MatchString(t.Slug) {
		return fault.Field(fault.Invalid, "slug", "the slug %q must be 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end", t.Slug)
	}
	if strings.TrimSpace(t.Name) == "" {
		return fault.Field(fault.Invalid, "name", "a tenant needs a name")
	}
	for _, domain := range t.Domains {
		if !domainForm.MatchString(domain) {
			return fault.Field(fault.Invalid, "domains", "%q is not a domain name in lower case", domain)
		}
	}
	return t.Policy.validate()
}
