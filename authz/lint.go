package authz

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	namePattern       = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	roleKeyPattern    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	permissionPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`)
)

// linter checks what a document means. Each method covers one section and
// reads on after a problem.
type linter struct {
	doc         *Document
	permissions map[string]string // key to the path where it is introduced
	problems    Problems
}

// lint returns nil or a fault.Invalid that wraps the Problems of the document.
func lint(doc *Document) error {
	l := &linter{doc: doc, permissions: map[string]string{}}
	l.identity()
	l.columns()
	l.matrix()
	l.extras()
	if !l.limits() {
		return l.problems.err() // the checks below compare each with each
	}
	l.tenants()
	l.entitlements()
	l.roles()
	l.founder()
	l.grantable()
	l.requires()
	l.administration()
	l.self()
	l.membership()
	l.signIn()
	l.appTokens()
	l.support()
	l.requests()
	l.invariants()
	return l.problems.err()
}

// report notes a problem at a path; its line is that of the nearest value that
// the file holds.
func (l *linter) report(path, format string, args ...any) {
	place := path
	line, found := l.doc.lines[place]
	for !found && place != "" {
		place = place[:max(strings.LastIndexAny(place, ".["), 0)]
		line, found = l.doc.lines[place]
	}
	l.problems = append(l.problems, Problem{Line: line, Path: path, Text: fmt.Sprintf(format, args...)})
}

// at is the path of the i-th element of a list.
func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func (l *linter) wantRole(path, key string) bool {
	if _, known := l.doc.Roles.Lookup(key); !known {
		l.report(path, "there is no role %q", key)
		return false
	}
	return true
}

func (l *linter) wantRoles(path string, keys []string) {
	for i, key := range keys {
		l.wantRole(at(path, i), key)
	}
}

func (l *linter) wantPermission(path, key string) {
	if _, known := l.permissions[key]; !known {
		l.report(path, "there is no permission %q", key)
	}
}

func (l *linter) wantEntitlement(path, key string) {
	if _, known := l.doc.Entitlements.Lookup(key); !known {
		l.report(path, "there is no entitlement %q", key)
	}
}

func (l *linter) wantStatuses(path string, keys []string) {
	for i, key := range keys {
		if _, known := l.doc.Membership.Statuses.Lookup(key); !known {
			l.report(at(path, i), "there is no membership status %q", key)
		}
	}
}

func (l *linter) wantSelector(path, s string) (selector, bool) {
	parsed, err := parseSelector(s, l.doc.Tenants.Relations)
	if err != nil {
		l.report(path, "%s", err)
	}
	return parsed, err == nil
}

// wantPatterns checks that each pattern is well-formed and matches a permission:
// one that matches nothing is a misspelling that would fail open.
func (l *linter) wantPatterns(path string, patterns []string) {
	for i, pattern := range patterns {
		stem, wildcard := strings.CutSuffix(pattern, "*")
		if strings.Contains(stem, "*") || wildcard && !strings.HasSuffix(stem, ".") {
			l.report(at(path, i), `%q is neither a permission nor a prefix followed by ".*"`, pattern)
			continue
		}
		matched := false
		for key := range l.permissions {
			matched = matched || matches(pattern, key)
		}
		if !matched {
			l.report(at(path, i), "%q matches no permission", pattern)
		}
	}
}

func (l *linter) identity() {
	if !namePattern.MatchString(l.doc.Blueprint) {
		l.report("blueprint", "%q must be lower-case letters, digits, - and _", l.doc.Blueprint)
	}
	if l.doc.Version < 1 {
		l.report("version", "must be at least 1")
	}
}

// limits checks that the sets can hold all names, and that no list is out of
// proportion.
func (l *linter) limits() bool {
	within := true
	for _, limit := range []struct {
		path      string
		got, most int
	}{
		{"roles", len(l.doc.Roles), maxRoles},
		{"permissions", len(l.permissions), maxPermissions},
		{"entitlements", len(l.doc.Entitlements), maxEntitlements},
		{"tenants.relations", len(l.doc.Tenants.Relations), maxRelations},
		{"tenants.tiers", len(l.doc.Tenants.Tiers), maxNames},
		{"tenants.statuses", len(l.doc.Tenants.Statuses), maxNames},
		{"requires", len(l.doc.Requires), maxPermissions},
		{"admin_ops", len(l.doc.AdminOps), maxNames},
		{"membership.statuses", len(l.doc.Membership.Statuses), maxNames},
	} {
		if limit.got > limit.most {
			l.report(limit.path, "%d are too many: at most %d", limit.got, limit.most)
			within = false
		}
	}
	return within
}

func (l *linter) columns() {
	for i, key := range l.doc.Columns {
		l.wantRole(at("columns", i), key)
		if slices.Contains(l.doc.Columns[:i], key) {
			l.report(at("columns", i), "role %q has a column already", key)
		}
	}
	for letter, meaning := range l.doc.Cells {
		path := join("cells", letter)
		if utf8.RuneCountInString(letter) != 1 {
			l.report(path, "a cell is one character")
		}
		if meaning != "reach" && meaning != "none" {
			l.wantSelector(path, meaning)
		}
	}
}

func (l *linter) matrix() {
	targets := map[string]bool{}
	for i, area := range l.doc.Permissions {
		for j, row := range area.Rows {
			path := at(at("permissions", i)+".rows", j)
			l.cells(path+".cells", row)
			for k, key := range row.Keys {
				l.introduce(at(path+".keys", k), key)
			}
			if (len(row.Keys) > 0) == (row.Administers != "") {
				l.report(path, "a row has either keys or administers")
			}
			if row.Administers != "" {
				l.wantRole(path+".administers", row.Administers)
				if targets[row.Administers] {
					l.report(path+".administers", "role %q has such a row already", row.Administers)
				}
				targets[row.Administers] = true
			}
			if row.Disputed != "" && !slices.Contains(l.doc.Columns, row.Disputed) {
				l.report(path+".disputed", "%q is no column", row.Disputed)
			}
		}
	}
}

// introduce notes a permission key, which may appear once.
func (l *linter) introduce(path, key string) {
	first, known := l.permissions[key]
	switch {
	case known:
		l.report(path, "permission %q stands at %s already", key, first)
	case !permissionPattern.MatchString(key):
		l.report(path, "%q is no permission key: words of a-z, 0-9 and _ joined by dots", key)
	}
	if !known {
		l.permissions[key] = path
	}
}

func (l *linter) cells(path string, row Row) {
	if n := utf8.RuneCountInString(row.Cells); n != len(l.doc.Columns) {
		l.report(path, "has %d cells for %d columns", n, len(l.doc.Columns))
	}
	for _, letter := range row.Cells {
		meaning, known := l.doc.Cells[string(letter)]
		switch {
		case !known:
			l.report(path, "%q is not explained in cells", letter)
		case row.Administers != "" && meaning != "reach" && meaning != "none":
			l.report(path, "%q limits where a permission holds; a row that says who administers whom takes only reach and none", letter)
		}
	}
}

func (l *linter) extras() {
	for _, extra := range l.doc.ExtraPermissions {
		path := join("extra_permissions", extra.Key)
		l.introduce(path, extra.Key)
		l.wantRoles(path, extra.Value)
	}
	for _, extra := range l.doc.ExtraGrants {
		path := join("extra_grants", extra.Key)
		l.wantRole(path, extra.Key)
		for i, key := range extra.Value {
			if _, known := l.permissions[key]; !known {
				l.introduce(at(path, i), key)
			}
		}
	}
}

func (l *linter) tenants() {
	t := l.doc.Tenants
	for _, relation := range t.Relations {
		if relation.Value.Shape == Star && relation.Value.MaxDepth > 1 {
			l.report(join("tenants.relations", relation.Key)+".max_depth", "a star has depth 1")
		}
	}
	for i, label := range t.Types {
		if slices.Contains(t.Types[:i], label) {
			l.report(at("tenants.types", i), "type %q is listed already", label)
		}
	}
	for _, tier := range t.Tiers {
		for i, key := range tier.Value.Entitlements {
			l.wantEntitlement(at(join("tenants.tiers", tier.Key)+".entitlements", i), key)
		}
	}
	for _, status := range t.Statuses {
		path := join("tenants.statuses", status.Key) + ".founded"
		next, known := t.Statuses.Lookup(status.Value.Founded)
		switch {
		case status.Value.Founded == "":
		case !known:
			l.report(path, "there is no status %q", status.Value.Founded)
		case next.Founded != "":
			l.report(path, "%q waits for a founder itself", status.Value.Founded)
		case !slices.ContainsFunc(l.doc.Roles, func(r Entry[RoleDecl]) bool { return r.Value.Founder }):
			l.report(path, "there is no founder's role")
		}
	}
	if !slices.ContainsFunc(t.Statuses, func(s Entry[TenantStatus]) bool { return s.Value.SignIn }) {
		l.report("tenants.statuses", "in no status can people sign in")
	}
}

func (l *linter) entitlements() {
	for _, e := range l.doc.Entitlements {
		path := join("entitlements", e.Key)
		l.wantPatterns(path+".gates", e.Value.Gates)
		l.wantRoles(path+".roles", e.Value.Roles)
		sourced := e.Value.Delegable || slices.ContainsFunc(l.doc.Tenants.Tiers, func(t Entry[Tier]) bool {
			return slices.Contains(t.Value.Entitlements, e.Key)
		})
		if !sourced {
			l.report(path, "no tenant can get it: put it in a tier or make it delegable")
		}
	}
}

func (l *linter) requires() {
	for _, entry := range l.doc.Requires {
		path := join("requires", entry.Key)
		l.wantPermission(path, entry.Key)
		for i, key := range entry.Value {
			l.wantPermission(at(path, i), key)
		}
		if l.requiresItself(entry.Key) {
			l.report(path, "requires itself in a circle")
		}
	}
}

func (l *linter) requiresItself(start string) bool {
	seen := map[string]bool{}
	pending := []string{start}
	for len(pending) > 0 {
		next, _ := l.doc.Requires.Lookup(pending[0])
		pending = pending[1:]
		for _, key := range next {
			if key == start {
				return true
			}
			if !seen[key] {
				seen[key] = true
				pending = append(pending, key)
			}
		}
	}
	return false
}
