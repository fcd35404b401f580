package authz

// Document is a blueprint as its author wrote it: one YAML file, every key
// known. The zero value of an optional section means that the portal says
// nothing about it.
type Document struct {
	Blueprint string `yaml:"blueprint,required"` // name, unique in the instance: lower-case letters, digits, "-" and "_"
	Version   int    `yaml:"version,required"`   // counts up from 1 with every change
	Noun      Noun   `yaml:"noun"`

	Tenants      TenantRules          `yaml:"tenants"`
	Entitlements Entries[Entitlement] `yaml:"entitlements"`
	Roles        Entries[RoleDecl]    `yaml:"roles,required"`

	Columns          []string          `yaml:"columns,required"` // role keys, in the order of the letters of Row.Cells
	Cells            map[string]string `yaml:"cells,required"`   // letter to "reach", "none" or a selector
	Permissions      []Area            `yaml:"permissions,required"`
	ExtraPermissions Entries[[]string] `yaml:"extra_permissions"` // permission that the vendor's table lacks, to the roles that have it
	ExtraGrants      Entries[[]string] `yaml:"extra_grants"`      // role, which need not be a column, to permissions at its reach
	Requires         Entries[[]string] `yaml:"requires"`          // permission to those without which it has no effect

	Administers     Entries[Entries[[]string]] `yaml:"administers"`       // actor role to operation ("any": all) to target roles
	AdminOps        Entries[string]            `yaml:"admin_ops"`         // operation to the permission that the actor must hold besides
	AdminEditFields []string                   `yaml:"admin_edit_fields"` // the fields of a member that an administrator may change
	AdminPassword   *AdminPassword             `yaml:"admin_password"`

	Self          SelfRules            `yaml:"self"`
	Membership    MembershipRules      `yaml:"membership,required"`
	Invitation    *Invitation          `yaml:"invitation"`
	Password      *PasswordPolicy      `yaml:"password"`
	PasswordReset *PasswordReset       `yaml:"password_reset"`
	SignIn        *SignInPolicy        `yaml:"signin"`
	MFA           *MFAPolicy           `yaml:"mfa"`
	AppTokens     *AppTokenPolicy      `yaml:"app_tokens"`
	Support       *SupportPolicy       `yaml:"support"`
	Requests      Entries[RequestKind] `yaml:"requests"`
	Invariants    []Invariant          `yaml:"invariants"`

	lines map[string]int // path of a value to its line, for the problems that Compile finds
}

// Noun holds the portal's own words for a tenant and a user, singular.
type Noun struct {
	Tenant string `yaml:"tenant"`
	User   string `yaml:"user"`
}

// TenantRules describes the tenants of a blueprint and how they relate.
type TenantRules struct {
	Relations Entries[Relation]     `yaml:"relations"`
	Types     []string              `yaml:"types"` // labels; a type carries no right
	Tiers     Entries[Tier]         `yaml:"tiers"`
	Statuses  Entries[TenantStatus] `yaml:"statuses,required"`
}

// Shape is the form of a relation.
type Shape string

// The shapes. In a tree a tenant may be a parent and a child at once; a star
// has one hub and its spokes, so its depth is one.
const (
	Tree Shape = "tree"
	Star Shape = "star"
)

// Relation is a named forest: a tenant has at most one parent in it.
type Relation struct {
	Shape    Shape  `yaml:"shape,required" enum:"tree|star"`
	MaxDepth int    `yaml:"max_depth"` // edges from a root to its deepest descendant; 0: no limit (a star: always 1)
	Hub      string `yaml:"hub"`       // the portal's word for the hub of a star
	Up       string `yaml:"up"`        // the portal's word for a parent
	Down     string `yaml:"down"`      // the portal's word for a child
}

// Tier is a named bundle of entitlements and quotas that a tenant can be on.
type Tier struct {
	Entitlements []string     `yaml:"entitlements"`
	Quotas       Entries[int] `yaml:"quotas"`
}

// TenantStatus says what a tenant's status means for its people.
type TenantStatus struct {
	SignIn bool `yaml:"sign_in,required"` // false: nobody has rights through a membership here
	// Founded is the status that follows by itself once a member with the founder's
	// role has a password. A new tenant begins in the status that names one, unless
	// it is made with another.
	Founded string `yaml:"founded"`
}

// Entitlement is a tenant-level permission.
type Entitlement struct {
	Gates     []string `yaml:"gates"`     // permission keys, or patterns such as "customers.*", without effect at a tenant that lacks it
	Roles     []string `yaml:"roles"`     // roles without effect, and not on offer, at a tenant that lacks it
	Delegable bool     `yaml:"delegable"` // a parent that has it with the grant option may pass it to a child
}

// Lifecycle says whether a role gains holders and whether it has effect.
type Lifecycle string

// The life of a role. A locked role gains no new holder while those who have it
// keep all of its rights; a retired one has no effect.
const (
	Open    Lifecycle = "open"
	Locked  Lifecycle = "locked"
	Retired Lifecycle = "retired"
)

// HoldersKind limits who may hold a role.
type HoldersKind string

// The kinds of holders; AnyHolder is the zero value.
const (
	AnyHolder    HoldersKind = ""
	HumanHolders HoldersKind = "human"
	// ServiceHolders are service accounts: applications that sign in with their own credentials.
	ServiceHolders HoldersKind = "service"
)

// RoleDecl declares a role. What it may do stands in the matrix.
type RoleDecl struct {
	Label         string      `yaml:"label,required"`
	About         string      `yaml:"about"`
	Badge         string      `yaml:"badge"`   // name of the symbol beside a holder in lists
	Reach         []string    `yaml:"reach"`   // selectors, seen from the tenant where the role is held; default [self]
	ActsAs        []ActsAs    `yaml:"acts_as"` // tenants at which a holder has exactly another role
	Lifecycle     Lifecycle   `yaml:"lifecycle"      enum:"open|locked|retired"`
	Protected     bool        `yaml:"protected"`                        // wherever it reaches, only an operator acts on a holder
	Channel       []string    `yaml:"channel"        enum:"portal|api"` // default: both
	HoldersKind   HoldersKind `yaml:"holders_kind"   enum:"human|service"`
	Hidden        bool        `yaml:"hidden"`                    // not shown to tenants
	Implicit      bool        `yaml:"implicit"`                  // every membership has it
	Founder       bool        `yaml:"founder"`                   // the first member of a tenant gets it
	HeldAt        string      `yaml:"held_at"        enum:"hub"` // hub: can be given only where the tenant is no spoke
	Holders       *Holders    `yaml:"holders"`
	Available     string      `yaml:"available"`      // the entitlement that the tenant needs for it
	Resource      string      `yaml:"resource"`       // kind of resource it is granted on, one by one
	GrantableWith string      `yaml:"grantable_with"` // permission that suffices to give it (resource roles)
	GrantNeeds    string      `yaml:"grant_needs"    enum:"comment"`
	OnLink        *OnLink     `yaml:"on_link"`
	OnUnlink      *OnUnlink   `yaml:"on_unlink"`
}

// ActsAs gives the holder of one role exactly another at the selected tenants.
type ActsAs struct {
	Role string `yaml:"role,required"`
	At   string `yaml:"at,required"` // a selector
}

// Holders limits how many may hold a role.
type Holders struct {
	Max int    `yaml:"max,required"`
	Per string `yaml:"per,required" enum:"tenant"`
}

// OnLink says who gets the role at the hub when a star comes into being.
type OnLink struct {
	GrantTo string `yaml:"grant_to,required" enum:"longest_standing"`
	Of      string `yaml:"of,required"` // the role among whose holders it is found
}

// OnUnlink says what its holders get when the star ends.
type OnUnlink struct {
	ReplaceWith string `yaml:"replace_with,required"`
	Where       string `yaml:"where,required" enum:"direct_membership"` // tenants in which they are members on their own
}

// Area is a block of the vendor's table.
type Area struct {
	Area string `yaml:"area,required"`
	Rows []Row  `yaml:"rows,required"`
}

// Row is a line of the vendor's table. It names either permissions or, in a
// table that also says who administers whom, a target role.
type Row struct {
	Label       string   `yaml:"row,required"`
	Keys        []string `yaml:"keys"`
	Administers string   `yaml:"administers"`
	Cells       string   `yaml:"cells,required"` // one letter per column
	Source      string   `yaml:"src"`            // provenance of the row
	Disputed    string   `yaml:"disputed"`       // role whose cell the vendor contradicts elsewhere
}
