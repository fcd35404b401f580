package oidc

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// maxURI bounds every address that an application registers or sends.
const maxURI = 2048

// AllowsRedirect reports whether uri is one of the application's redirect URIs.
// They are compared byte by byte (RFC 9700 §2.1); for native applications the
// port of a loopback address is free (RFC 8252 §7.3).
func (a *Application) AllowsRedirect(uri string) bool {
	if slices.Contains(a.RedirectURIs, uri) {
		return true
	}
	if a.Type != Native {
		return false
	}
	portless, ok := withoutLoopbackPort(uri)
	return ok && slices.ContainsFunc(a.RedirectURIs, func(registered string) bool {
		r, ok := withoutLoopbackPort(registered)
		return ok && r == portless
	})
}

// AllowsPostLogoutRedirect reports whether uri is one of the application's
// post-logout redirect URIs, byte by byte.
func (a *Application) AllowsPostLogoutRedirect(uri string) bool {
	return slices.Contains(a.PostLogoutRedirectURIs, uri)
}

// AllowsOrigin reports whether a browser application at origin (RFC 6454 §6.2)
// may read answers: it is where a redirect URI of an SPA leads.
func (o *OIDC) AllowsOrigin(ctx context.Context, origin string) (bool, error) {
	if u, err := url.Parse(origin); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return false, nil //nolint:nilerr // what is no origin is not allowed, and no failure
	}
	if allowed, ok := o.origins.GetIfPresent(origin); ok {
		return allowed, nil
	}
	allowed, err := o.store.OriginRegistered(ctx, origin)
	if err == nil {
		o.origins.Set(origin, allowed)
	}
	return allowed, err
}

// withoutLoopbackPort takes the port out of an http URI whose host is written
// as a loopback IP address, and leaves every other byte as it is. It works on
// the text, because what a parser thinks two texts have in common is what
// attacks on redirect URIs are made of. "localhost" is a name and is not meant
// (RFC 8252 §8.3).
func withoutLoopbackPort(uri string) (portless string, ok bool) {
	for _, base := range []string{"http://127.0.0.1", "http://[::1]"} {
		rest, found := strings.CutPrefix(uri, base)
		if !found {
			continue
		}
		if port, numbered := strings.CutPrefix(rest, ":"); numbered {
			end := strings.IndexFunc(port, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(port)
			}
			if _, err := strconv.ParseUint(port[:end], 10, 16); err != nil {
				return "", false
			}
			rest = port[end:]
		}
		if rest == "" || rest[0] == '/' || rest[0] == '?' {
			return base + rest, true
		}
	}
	return "", false
}

func (s ApplicationSpec) validateURIs() error {
	switch {
	case s.Type.signsIn() && len(s.RedirectURIs) == 0:
		return fault.Field(fault.Invalid, "redirect_uris", "an application of type %s needs at least one redirect URI", s.Type)
	case !s.Type.signsIn() && len(s.RedirectURIs) > 0:
		return fault.Field(fault.Invalid, "redirect_uris", "an application of type %s has no redirect URIs", s.Type)
	case !s.Type.signsIn() && len(s.PostLogoutRedirectURIs) > 0:
		return fault.Field(fault.Invalid, "post_logout_redirect_uris", "an application of type %s has no post-logout redirect URIs", s.Type)
	}
	for _, uri := range s.RedirectURIs {
		if err := validateRedirect("redirect_uris", uri, s.Type); err != nil {
			return err
		}
	}
	for _, uri := range s.PostLogoutRedirectURIs {
		if err := validateRedirect("post_logout_redirect_uris", uri, s.Type); err != nil {
			return err
		}
	}
	return s.validateBackchannel()
}

func (s ApplicationSpec) validateBackchannel() error {
	const field = "backchannel_logout_uri"
	if s.BackchannelLogoutURI == "" {
		return nil
	}
	if s.Type == Machine {
		return fault.Field(fault.Invalid, field, "an application of type machine signs nobody in, so there is no logout to tell it of")
	}
	u, err := parseURI(field, s.BackchannelLogoutURI)
	if err != nil {
		return err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fault.Field(fault.Invalid, field, "%q must be an https or http address", s.BackchannelLogoutURI)
	}
	return nil
}

// validateRedirect holds redirect URIs to RFC 9700 §4.1 and RFC 8252 §7: https,
// or http at the person's own machine, or for native applications a scheme that
// belongs to a domain.
func validateRedirect(field, uri string, t ApplicationType) error {
	u, err := parseURI(field, uri)
	if err != nil {
		return err
	}
	switch {
	case u.Scheme == "https" && u.Hostname() != "":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fault.Field(fault.Invalid, field, "%q must use https: http is for loopback addresses only", uri)
	case t == Native && strings.Contains(u.Scheme, "."):
		return nil
	case t == Native:
		return fault.Field(fault.Invalid, field, "%q must use https, a loopback address, or a scheme with a dot, such as com.example.app:/callback", uri)
	default:
		return fault.Field(fault.Invalid, field, "%q must be an https address, or http at a loopback address", uri)
	}
}

func parseURI(field, uri string) (*url.URL, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil || !u.IsAbs():
		return nil, fault.Field(fault.Invalid, field, "%q is not an absolute URI", uri)
	case len(uri) > maxURI:
		return nil, fault.Field(fault.Invalid, field, "a URI must not be longer than %d characters", maxURI)
	case strings.Contains(uri, "#"):
		return nil, fault.Field(fault.Invalid, field, "%q must not have a fragment", uri)
	case u.User != nil:
		return nil, fault.Field(fault.Invalid, field, "%q must not have a user name", uri)
	case strings.Contains(u.Host, "*"):
		return nil, fault.Field(fault.Invalid, field, "%q: there are no wildcards, URIs are compared byte by byte", uri)
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }):
		return nil, fault.Field(fault.Invalid, field, "%q must consist of the characters of RFC 3986", uri)
	}
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
