package oidc_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/storage"
)

func TestPutApplicationNamesTheFieldAtFault(t *testing.T) {
	o := newOIDC(t, nil)
	good := oidc.ApplicationSpec{ClientID: "shop", Type: oidc.Web, RedirectURIs: []string{"https://shop.example/cb"}}
	native := oidc.ApplicationSpec{ClientID: "tool", Type: oidc.Native, RedirectURIs: []string{"com.example.tool:/cb"}}
	cases := map[string]struct {
		spec   oidc.ApplicationSpec
		field  string
		change func(*oidc.ApplicationSpec)
	}{
		"no client_id":                       {good, "client_id", func(s *oidc.ApplicationSpec) { s.ClientID = "" }},
		"client_id with a space":             {good, "client_id", func(s *oidc.ApplicationSpec) { s.ClientID = "a b" }},
		"client_id with a colon":             {good, "client_id", func(s *oidc.ApplicationSpec) { s.ClientID = "a:b" }},
		"RFC 9700 §4.15 a user's id":         {good, "client_id", func(s *oidc.ApplicationSpec) { s.ClientID = string(id.New[id.User]()) }},
		"a user's id in capitals":            {good, "client_id", func(s *oidc.ApplicationSpec) { s.ClientID = strings.ToUpper(string(id.New[id.User]())) }},
		"no type":                            {good, "type", func(s *oidc.ApplicationSpec) { s.Type = "" }},
		"unknown type":                       {good, "type", func(s *oidc.ApplicationSpec) { s.Type = "service" }},
		"unknown format":                     {good, "access_token", func(s *oidc.ApplicationSpec) { s.AccessToken = "saml" }},
		"unknown algorithm":                  {good, "id_token_signed_response_alg", func(s *oidc.ApplicationSpec) { s.IDTokenAlg = "none" }},
		"unknown algorithm of access tokens": {good, "access_token_signed_response_alg", func(s *oidc.ApplicationSpec) { s.AccessTokenAlg = "none" }},
		"secret of a public one":             {native, "secret", func(s *oidc.ApplicationSpec) { s.Secret = secret.NewText("x") }},
		"machine without a tenant":           {oidc.ApplicationSpec{ClientID: "robot", Type: oidc.Machine}, "tenant", func(*oidc.ApplicationSpec) {}},
		"roles of a web application":         {good, "roles", func(s *oidc.ApplicationSpec) { s.Roles = []string{"admin"} }},
		"no redirect URI":                    {good, "redirect_uris", func(s *oidc.ApplicationSpec) { s.RedirectURIs = nil }},
		"redirect URI of a machine":          {good, "redirect_uris", func(s *oidc.ApplicationSpec) { s.Type, s.Tenant = oidc.Machine, "t" }},
		"http":                               {good, "redirect_uris", redirects("http://shop.example/cb")},
		"relative":                           {good, "redirect_uris", redirects("/cb")},
		"RFC 6749 §3.1.2 fragment":           {good, "redirect_uris", redirects("https://shop.example/cb#x")},
		"empty fragment":                     {good, "redirect_uris", redirects("https://shop.example/cb#")},
		"user name":                          {good, "redirect_uris", redirects("https://user@shop.example/cb")},
		"wildcard":                           {good, "redirect_uris", redirects("https://*.shop.example/cb")},
		"no host":                            {good, "redirect_uris", redirects("https:///cb")},
		"backslash":                          {good, "redirect_uris", redirects(`https://shop.example\cb`)},
		"script":                             {good, "redirect_uris", redirects("javascript:alert(1)")},
		"scheme of a web application":        {good, "redirect_uris", redirects("com.example.shop:/cb")},
		"RFC 8252 §7.1 no dot":               {native, "redirect_uris", redirects("tool:/cb")},
		"script of a native one":             {native, "redirect_uris", redirects("javascript:alert(1)")},
		"too long":                           {good, "redirect_uris", redirects("https://shop.example/" + strings.Repeat("a", 2048))},
		"post-logout fragment": {good, "post_logout_redirect_uris", func(s *oidc.ApplicationSpec) {
			s.PostLogoutRedirectURIs = []string{"https://shop.example/#bye"}
		}},
		"back-channel by another scheme": {good, "backchannel_logout_uri", func(s *oidc.ApplicationSpec) { s.BackchannelLogoutURI = "ftp://shop.example/" }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.change(&c.spec)
			_, err := o.PutApplication(t.Context(), c.spec)
			if f := fault.As(err); f.Kind != fault.Invalid || f.Field != c.field || f.Detail == "" {
				t.Errorf("got %v, want an invalid %s", err, c.field)
			}
		})
	}
}

func redirects(uris ...string) func(*oidc.ApplicationSpec) {
	return func(s *oidc.ApplicationSpec) { s.RedirectURIs = uris }
}

func TestPutApplicationIsIdempotent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		o := newOIDC(t, store)
		spec := oidc.ApplicationSpec{
			ClientID: "shop", Type: oidc.Web, RedirectURIs: []string{"https://shop.example/cb", "http://localhost:9999/cb", "http://[::1]/cb"},
		}
		first, err := o.PutApplication(t.Context(), spec)
		if err != nil || !first.Created || !first.Changed || first.Secret.Empty() {
			t.Fatalf("first %+v, %v", first, err)
		}
		again, err := o.PutApplication(t.Context(), spec)
		if err != nil || again.Changed || !again.Secret.Empty() {
			t.Errorf("again %+v, %v", again, err)
		}
		if _, err := o.Authenticate(t.Context(), oidc.ClientProof{Method: oidc.AuthSecretBasic, ClientID: "shop", Secret: first.Secret}); err != nil {
			t.Errorf("the secret that was made: %v", err)
		}
		spec.Secret, spec.Name = secret.NewText("weak"), "The shop"
		for _, changed := range []bool{true, false} {
			got, err := o.PutApplication(t.Context(), spec)
			if err != nil || got.Created || got.Changed != changed || !got.Secret.Empty() {
				t.Errorf("with a secret %+v, %v", got, err)
			}
		}
		if _, err := o.Authenticate(t.Context(), oidc.ClientProof{Method: oidc.AuthSecretBasic, ClientID: "shop", Secret: first.Secret}); fault.As(err).Code != oidc.InvalidClient {
			t.Errorf("the old secret: %v", err)
		}
		stored, err := store.Application(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if stored.Name != "The shop" || cmp.Diff(stored.RedirectURIs, spec.RedirectURIs) != "" || len(stored.Secrets) != 1 {
			t.Errorf("stored %+v", stored)
		}
		if stored.Secrets[0].Hash.Equal(secret.NewText("weak").Hash()) {
			t.Error("a guessable secret is stored as its bare hash")
		}
	})
}

func TestAllowsRedirect(t *testing.T) {
	cases := []struct {
		name       string
		t          oidc.ApplicationType
		registered string
		uri        string
		want       bool
	}{
		{"RFC 9700 §2.1 the same", oidc.Web, "https://a.example/cb", "https://a.example/cb", true},
		{"RFC 9700 §2.1 another path", oidc.Web, "https://a.example/cb", "https://a.example/cb/x", false},
		{"another query", oidc.Web, "https://a.example/cb?x=1", "https://a.example/cb?x=2", false},
		{"RFC 8252 §7.3 another port", oidc.Native, "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", true},
		{"RFC 8252 §7.3 a port where none is registered", oidc.Native, "http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", true},
		{"RFC 8252 §7.3 IPv6", oidc.Native, "http://[::1]/cb", "http://[::1]:5000/cb", true},
		{"another path", oidc.Native, "http://127.0.0.1/cb", "http://127.0.0.1:5000/cb2", false},
		{"another loopback address", oidc.Native, "http://127.0.0.1/cb", "http://[::1]:5000/cb", false},
		{"https", oidc.Native, "http://127.0.0.1/cb", "https://127.0.0.1:5000/cb", false},
		{"no such port", oidc.Native, "http://127.0.0.1/cb", "http://127.0.0.1:65536/cb", false},
		{"no port after the colon", oidc.Native, "http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
		{"a longer host", oidc.Native, "http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false},
		{"a user name that looks like the host", oidc.Native, "http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb", false},
		{"RFC 8252 §8.3 localhost is a name", oidc.Native, "http://localhost/cb", "http://localhost:5000/cb", false},
		{"not for web applications", oidc.Web, "http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := &oidc.Application{Type: c.t, RedirectURIs: []string{c.registered}}
			if got := a.AllowsRedirect(c.uri); got != c.want {
				t.Errorf("%s for %s: %v", c.uri, c.registered, got)
			}
		})
	}
}

// FuzzAllowsRedirect holds what is allowed against what a parser makes of it: it
// must lead to the registered host.
func FuzzAllowsRedirect(f *testing.F) {
	for _, seed := range []string{
		"http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", "http://127.0.0.1:80@evil/cb", "http://[::1]:1/cb", "http://127.0.0.1:/cb",
		"http://127.0.0.1\\@evil/cb", "http://127.0.0.1:99999/cb", "http://127.0.0.1?x", "https://a.example/cb", "http://127.0.0.1:08/cb#",
	} {
		f.Add(seed)
	}
	a := &oidc.Application{Type: oidc.Native, RedirectURIs: []string{"http://127.0.0.1/cb", "https://a.example/cb"}}
	f.Fuzz(func(t *testing.T, uri string) {
		if !a.AllowsRedirect(uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatalf("%q is allowed and no URI", uri)
		}
		if u.User != nil || u.Path != "/cb" || u.RawQuery != "" || strings.Contains(uri, "#") ||
			u.Scheme+"://"+u.Hostname() != "http://127.0.0.1" && uri != "https://a.example/cb" {
			t.Errorf("%q is allowed", uri)
		}
	})
}
