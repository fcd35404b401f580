package authz

import "slices"

func (l *linter) membership() {
	m := l.doc.Membership
	if m.Roles.Max != nil && *m.Roles.Max < m.Roles.Min {
		l.report("membership.roles.max", "%d is less than min %d", *m.Roles.Max, m.Roles.Min)
	}
	if m.Roles.Max != nil && *m.Roles.Max == 0 {
		l.report("membership.roles.max", "nobody could hold a role; null stands for no limit")
	}
	active := false
	for _, status := range m.Statuses {
		path := join("membership.statuses", status.Key)
		l.wantStatuses(path+".to", status.Value.To)
		active = active || status.Value.SignIn
		if status.Value.SignIn && len(status.Value.To) == 0 {
			l.report(path, "a status that may sign in and never ends: name the statuses that may follow")
		}
	}
	if !active {
		l.report("membership.statuses", "in no status can a member sign in")
	}
	l.wantStatuses("membership.set_on_create", m.SetOnCreate)
	if m.Contact != nil && m.Contact.Max < 1 {
		l.report("membership.contact.max", "must be at least 1")
	}
	if i := l.doc.Invitation; i != nil {
		l.wantStatuses("invitation.resend", i.Resend)
		if i.Default && !i.Optional {
			l.report("invitation.default", "is for an invitation that is optional")
		}
	}
}

func (l *linter) signIn() {
	if p := l.doc.Password; p != nil && p.Upper+p.Lower+p.Digit+p.Other > p.Min {
		l.report("password", "asks for more characters of each class than min")
	}
	if p := l.doc.Password; p != nil && (p.History < 0 || p.History > MaxPasswordHistory) {
		l.report("password.history", "must be from 0 to %d", MaxPasswordHistory)
	}
	if s := l.doc.SignIn; s != nil {
		if s.Lockout != nil && s.Lockout.Attempts < 1 {
			l.report("signin.lockout.attempts", "must be at least 1")
		}
		if s.SSO != nil && s.SSO.Entitlement != "" {
			l.wantEntitlement("signin.sso.entitlement", s.SSO.Entitlement)
		}
	}
	m := l.doc.MFA
	if m == nil {
		return
	}
	if m.RequiredWhen.Entitlement != "" {
		l.wantEntitlement("mfa.required_when.entitlement", m.RequiredWhen.Entitlement)
	}
	if m.RequiredWhen.Role != "" {
		l.wantRole("mfa.required_when.role", m.RequiredWhen.Role)
	}
	if m.SetBy != "" {
		l.wantPermission("mfa.set_by", m.SetBy)
	}
	if len(m.Methods) == 0 {
		l.report("mfa.methods", "must not be empty")
	}
	if m.DefaultMethod != "" && !slices.Contains(m.Methods, m.DefaultMethod) {
		l.report("mfa.default_method", "%q is not among methods", m.DefaultMethod)
	}
}

func (l *linter) support() {
	s := l.doc.Support
	switch {
	case s == nil:
		return
	case s.Permission == nil:
		if s.Targets != nil || len(s.RoleOverride) > 0 || s.Consent != "" || s.Concurrent || s.Event != nil || len(s.Never) > 0 {
			l.report("support", "without a permission there are no support sessions to describe")
		}
		return
	case s.Targets == nil:
		l.report("support.targets", "is required: whom may a session assume?")
	default:
		if at, ok := l.wantSelector("support.targets.reach", s.Targets.Reach); ok && (at.kind == selectSelf || at.kind == selectHub) {
			l.report("support.targets.reach", "%q does not lead to another tenant", s.Targets.Reach)
		}
		l.wantStatuses("support.targets.user_status", s.Targets.UserStatus)
		for i, key := range s.Targets.TenantStatus {
			if _, known := l.doc.Tenants.Statuses.Lookup(key); !known {
				l.report(at("support.targets.tenant_status", i), "there is no tenant status %q", key)
			}
		}
	}
	l.wantPermission("support.permission", *s.Permission)
	if s.SetBy != "" {
		l.wantPermission("support.set_by", s.SetBy)
	}
	l.wantRoles("support.role_override", s.RoleOverride)
	l.wantPatterns("support.never", s.Never)
}

func (l *linter) requests() {
	for _, request := range l.doc.Requests {
		path := join("requests", request.Key)
		if request.Value.Permission != nil {
			l.wantPermission(path+".permission", *request.Value.Permission)
		}
		if request.Value.Approver != "operator" {
			l.wantRole(path+".approver", request.Value.Approver)
		}
		l.requestEffect(path, request.Value)
	}
}

func (l *linter) requestEffect(path string, r RequestKind) {
	edge := r.Effect == EffectCreate || r.Effect == EffectLink
	switch {
	case edge && r.Relation == "":
		l.report(path, "effect %s needs the relation", r.Effect)
	case !edge && r.Relation != "":
		l.report(path+".relation", "is for the effects create and link")
	case r.Effect == EffectLink && r.Approver != "operator":
		l.report(path+".approver", "only the operator links a tenant: an approver of the hub could take any")
	case edge:
		if _, known := l.doc.Tenants.Relations.Lookup(r.Relation); !known {
			l.report(path+".relation", "there is no relation %q", r.Relation)
		}
	}
	switch {
	case r.Effect == EffectReassign && r.Role == "":
		l.report(path, "effect reassign needs the role")
	case r.Effect != EffectReassign && r.Role != "":
		l.report(path+".role", "is for the effect reassign")
	case r.Role != "":
		l.wantRole(path+".role", r.Role)
	}
}

func (l *linter) invariants() {
	for i, inv := range l.doc.Invariants {
		path := at("invariants", i)
		if inv.N < 1 {
			l.report(path+".n", "must be at least 1")
		}
		per := "tenant"
		if inv.Rule == MinRoles {
			per = "membership"
		}
		if inv.Per != per {
			l.report(path+".per", "%s counts per %s", inv.Rule, per)
		}
		switch inv.Rule {
		case MinHolders, MaxHolders:
			l.holderRule(path, inv)
		case MinRoles:
			if m := l.doc.Membership.Roles.Max; m != nil && inv.N > *m {
				l.report(path+".n", "%d is more than membership.roles.max %d", inv.N, *m)
			}
			fallthrough
		case MinMembers:
			if len(inv.RoleKeys()) > 0 {
				l.report(path, "%s counts whatever the role", inv.Rule)
			}
		}
	}
}

func (l *linter) holderRule(path string, inv Invariant) {
	if (inv.Role != "") == (len(inv.Roles) > 0) {
		l.report(path, "%s takes either role or roles", inv.Rule)
	}
	for _, key := range inv.RoleKeys() {
		decl, _ := l.doc.Roles.Lookup(key)
		if !l.wantRole(path, key) || inv.Rule == MaxHolders {
			continue
		}
		// Such a tenant could lose its last holder but never gain one.
		if decl.Lifecycle == Locked || decl.Lifecycle == Retired {
			l.report(path, "role %q is %s, so nobody could take the last holder's place", key, decl.Lifecycle)
		}
	}
}
