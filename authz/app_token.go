package authz

import "cmp"

// AppTokenOperations names the permissions that the operations on application
// tokens need. Where the section is left out, the keys app_tokens.create,
// .read, .update, .revoke and .manage stand for it as far as the role system
// has them. An operation without a permission is everybody's with tokens of
// their own; those of others are then the operator's alone.
type AppTokenOperations struct {
	Create string `yaml:"create"` // make one of one's own
	List   string `yaml:"list"`   // see one's own
	Update string `yaml:"update"` // describe, limit and rotate one's own
	Revoke string `yaml:"revoke"` // revoke one's own; default: what Update needs
	Manage string `yaml:"manage"` // see, narrow and revoke those of others
}

// AppTokens returns the policy for application tokens, defaults filled in: never
// nil, and Operations neither.
func (b *Blueprint) AppTokens() AppTokenPolicy {
	policy := AppTokenPolicy{Scope: "tenant", Bound: "creator"}
	if b.doc.AppTokens != nil {
		policy = *b.doc.AppTokens
	}
	policy.Expiry, policy.CIDR = cmp.Or(policy.Expiry, "optional"), cmp.Or(policy.CIDR, "optional")
	operations := AppTokenOperations{}
	if policy.Operations != nil {
		operations = *policy.Operations
	} else {
		conventional := func(key string) string {
			if _, known := b.permissionIndex[key]; known {
				return key
			}
			return ""
		}
		operations = AppTokenOperations{
			Create: conventional("app_tokens.create"), List: conventional("app_tokens.read"), Update: conventional("app_tokens.update"),
			Revoke: conventional("app_tokens.revoke"), Manage: conventional("app_tokens.manage"),
		}
	}
	operations.Revoke = cmp.Or(operations.Revoke, operations.Update)
	policy.Operations = &operations
	return policy
}

// StatusLabel returns the role system's word for a token that is in force, or
// revoked. The statuses stand in that order; without them it is empty.
func (p AppTokenPolicy) StatusLabel(revoked bool) string {
	i := 0
	if revoked {
		i = 1
	}
	if i >= len(p.Statuses) {
		return ""
	}
	return p.Statuses[i].Value
}

func (l *linter) appTokens() {
	p := l.doc.AppTokens
	if p == nil {
		return
	}
	if n := len(p.Statuses); n != 0 && n != 2 {
		l.report("app_tokens.statuses", "has %d words: there is one for a token in force, and then one for a revoked token", n)
	}
	if p.Operations == nil {
		return
	}
	for _, operation := range []struct{ name, key string }{
		{"create", p.Operations.Create},
		{"list", p.Operations.List},
		{"update", p.Operations.Update},
		{"revoke", p.Operations.Revoke},
		{"manage", p.Operations.Manage},
	} {
		if operation.key != "" {
			l.wantPermission(join("app_tokens.operations", operation.name), operation.key)
		}
	}
}
