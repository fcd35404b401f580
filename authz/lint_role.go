package authz

import "slices"

func (l *linter) roles() {
	for _, entry := range l.doc.Roles {
		path, r := join("roles", entry.Key), entry.Value
		if !roleKeyPattern.MatchString(entry.Key) {
			l.report(path, "%q is no role key: a-z, 0-9 and _, at most 63", entry.Key)
		}
		for i, s := range r.Reach {
			l.wantSelector(at(path+".reach", i), s)
		}
		for i, as := range r.ActsAs {
			l.actsAs(at(path+".acts_as", i), entry.Key, as)
		}
		if r.Available != "" {
			l.wantEntitlement(path+".available", r.Available)
		}
		if r.GrantableWith != "" {
			l.wantPermission(path+".grantable_with", r.GrantableWith)
		}
		if r.Resource == "" && (r.GrantableWith != "" || r.GrantNeeds != "") {
			l.report(path, "grantable_with and grant_needs are for a role that is granted on a resource")
		}
		if r.Holders != nil && r.Holders.Max < 1 {
			l.report(path+".holders.max", "must be at least 1")
		}
		if r.HeldAt == "hub" && !l.hasStar() {
			l.report(path+".held_at", "hub needs a relation of shape star")
		}
		l.implicit(path, r)
		l.linking(path, entry.Key, r)
	}
}

func (l *linter) hasStar() bool {
	return slices.ContainsFunc(l.doc.Tenants.Relations, func(r Entry[Relation]) bool { return r.Value.Shape == Star })
}

func (l *linter) actsAs(path, role string, as ActsAs) {
	l.wantRole(path+".role", as.Role)
	if as.Role == role {
		l.report(path+".role", "a role cannot act as itself: use reach")
	}
	// Acting as another role at home would be inheritance between roles.
	if s, ok := l.wantSelector(path+".at", as.At); ok && (s.kind == selectSelf || s.kind == selectHub) {
		l.report(path+".at", "%q does not lead to another tenant", as.At)
	}
}

// implicit checks the marks that exclude one another.
func (l *linter) implicit(path string, r RoleDecl) {
	if !r.Implicit {
		return
	}
	for _, other := range []struct {
		excluded bool
		name     string
	}{
		{r.Lifecycle == Locked, "locked"},
		{r.Lifecycle == Retired, "retired"},
		{r.Founder, "the founder's"},
		{r.Protected, "protected"},
		{r.Resource != "", "granted on a resource"},
		{r.HeldAt != "", "held at a hub only"},
		{r.Holders != nil, "limited in holders"},
		{r.HoldersKind != AnyHolder, "for one kind of holder"},
	} {
		if other.excluded {
			l.report(path, "an implicit role, which everybody has, cannot be %s", other.name)
		}
	}
}

func (l *linter) linking(path, key string, r RoleDecl) {
	if (r.OnLink != nil || r.OnUnlink != nil) && !l.hasStar() {
		l.report(path, "on_link and on_unlink need a relation of shape star")
	}
	if r.OnLink != nil && l.wantRole(path+".on_link.of", r.OnLink.Of) && r.OnLink.Of == key {
		l.report(path+".on_link.of", "must be another role")
	}
	if r.OnUnlink != nil && l.wantRole(path+".on_unlink.replace_with", r.OnUnlink.ReplaceWith) && r.OnUnlink.ReplaceWith == key {
		l.report(path+".on_unlink.replace_with", "must be another role")
	}
}

// founder checks that a new tenant can get its first administrator. A portal
// without a founder role leaves the choice to the operator, who must then find
// a role whose holders can let others in.
func (l *linter) founder() {
	first := ""
	for _, entry := range l.doc.Roles {
		path, r := join("roles", entry.Key)+".founder", entry.Value
		if !r.Founder {
			continue
		}
		if first != "" {
			l.report(path, "role %q is the founder's already", first)
			continue
		}
		first = entry.Key
		if r.Lifecycle == Locked || r.Lifecycle == Retired || r.Hidden || r.Resource != "" || r.HoldersKind == ServiceHolders {
			l.report(path, "the first member, a person, cannot be given a role that is locked, retired, hidden, granted on a resource or for service accounts")
		}
	}
	if first == "" && !slices.ContainsFunc(l.doc.Roles, func(r Entry[RoleDecl]) bool { return l.givesRoles(r.Key) }) {
		l.report("roles", "no role is the founder's and none can give roles, so a tenant could have no administrator")
	}
}

// givesRoles reports whether holders of a role may give any role to others.
func (l *linter) givesRoles(actor string) bool {
	return slices.ContainsFunc(l.doc.Roles, func(r Entry[RoleDecl]) bool { return l.gives(actor, r.Key) })
}

// gives reports whether holders of one role may give another, to a new member
// or to one who is there.
func (l *linter) gives(actor, role string) bool {
	ops, _ := l.doc.Administers.Lookup(actor)
	for _, op := range ops {
		if slices.Contains([]string{"any", "create", "grant"}, op.Key) && slices.Contains(op.Value, role) {
			return true
		}
	}
	column := slices.Index(l.doc.Columns, actor)
	for _, area := range l.doc.Permissions {
		for _, row := range area.Rows {
			cells := []rune(row.Cells)
			if row.Administers == role && column >= 0 && column < len(cells) && l.doc.Cells[string(cells[column])] == "reach" {
				return true
			}
		}
	}
	return false
}

// grantable checks that somebody can give every open role. Protected and
// hidden roles are the operator's.
func (l *linter) grantable() {
	for _, entry := range l.doc.Roles {
		r := entry.Value
		closed := r.Lifecycle == Locked || r.Lifecycle == Retired
		if closed || r.Protected || r.Hidden || r.Founder || r.Implicit || r.GrantableWith != "" {
			continue
		}
		if !slices.ContainsFunc(l.doc.Roles, func(actor Entry[RoleDecl]) bool { return l.gives(actor.Key, entry.Key) }) {
			l.report(join("roles", entry.Key), "nobody can give it: let a role administer it, or leave it to the operator with protected or hidden")
		}
	}
}

func (l *linter) administration() {
	for _, actor := range l.doc.Administers {
		path := join("administers", actor.Key)
		l.wantRole(path, actor.Key)
		for _, op := range actor.Value {
			if _, known := l.doc.AdminOps.Lookup(op.Key); !known && op.Key != "any" {
				l.report(join(path, op.Key), "%q is not among admin_ops", op.Key)
			}
			l.wantRoles(join(path, op.Key), op.Value)
		}
	}
	for _, op := range l.doc.AdminOps {
		if op.Key == "any" {
			l.report("admin_ops.any", "any stands for all operations and cannot be one")
		}
		l.wantPermission(join("admin_ops", op.Key), op.Value)
	}
	if p := l.doc.AdminPassword; p != nil && p.Service != "" {
		if _, known := l.doc.AdminOps.Lookup(p.Service); !known {
			l.report("admin_password.service", "%q is not among admin_ops", p.Service)
		}
	}
}

func (l *linter) self() {
	l.wantRoles("self.roles.keep", l.doc.Self.Roles.Keep)
}
