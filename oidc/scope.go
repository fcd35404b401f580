package oidc

import (
	"slices"
	"strings"
)

// The scopes of this server. A scope "tenant:" + slug or id names the tenant to
// sign in to.
const (
	ScopeOpenID      = "openid"
	ScopeProfile     = "profile"
	ScopeEmail       = "email"
	ScopeAddress     = "address"
	ScopePhone       = "phone"
	ScopeGroups      = "groups"      // the claim groups
	ScopePermissions = "permissions" // the claim permissions
	ScopeTenants     = "tenants"     // the claim tenants: all memberships
	ScopeOffline     = "offline_access"
	ScopeAPI         = "api"        // administration by the API; only for applications that the operator allows it
	ScopeSSFManage   = "ssf.manage" // an application's own streams of signals (SSF 1.0)
	ScopeSSFRead     = "ssf.read"   // the same, to look at them and to poll
	ScopeSCIM        = "scim"       // acting as a SCIM connection; only for the machine that it names

	tenantScope = "tenant:"
)

// Scopes returns the scopes to publish, in the order of the constants.
func Scopes() []string {
	return []string{
		ScopeOpenID, ScopeProfile, ScopeEmail, ScopeAddress, ScopePhone, ScopeGroups, ScopePermissions, ScopeTenants, ScopeOffline, ScopeAPI, ScopeSCIM, ScopeSSFManage, ScopeSSFRead,
	}
}

// ParseScope splits a scope parameter (RFC 6749 §3.3) and drops repetitions and
// what this server doesn't know (OIDC Core §3.1.2.1). tenant is what a scope
// "tenant:…" names; more than one of these is invalid_scope.
func ParseScope(scope string) (scopes []string, tenant string, err error) {
	for token := range strings.SplitSeq(scope, " ") {
		if token == "" || slices.Contains(scopes, token) {
			continue
		}
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return nil, "", refuse(InvalidScope, "the scope contains a character that RFC 6749 §3.3 does not allow")
		}
		if name, ok := strings.CutPrefix(token, tenantScope); ok {
			if name == "" || tenant != "" {
				return nil, "", refuse(InvalidScope, "the scope must name one tenant at most, as in tenant:berlin")
			}
			tenant = name
		} else if !slices.Contains(Scopes(), token) {
			continue
		}
		scopes = append(scopes, token)
	}
	return scopes, tenant, nil
}

// namesTenant reports whether the scope says which tenant is meant.
func namesTenant(scope string) bool { return strings.HasPrefix(scope, tenantScope) }

// narrow returns the scopes of a refreshed token: those asked for, which must be
// among the granted ones (RFC 6749 §6), or all of them.
func narrow(granted []string, asked string) ([]string, error) {
	var scopes []string
	for token := range strings.SplitSeq(asked, " ") {
		switch {
		case token == "" || slices.Contains(scopes, token):
		case !slices.Contains(granted, token):
			return nil, refuse(InvalidScope, "a refresh can't ask for more than was granted, nor for another tenant")
		default:
			scopes = append(scopes, token)
		}
	}
	if len(scopes) == 0 {
		return granted, nil
	}
	return scopes, nil
}
