package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
	"github.com/rolecall/rolecall/storage"
)

// What a sign-in and a person's own pages ask the database: nothing twice. The
// numbers are what was reached, in an instance that has seen the tenant and the
// application before; less is welcome here.
func TestStatementsOfSigningIn(t *testing.T) {
	t.Parallel()
	eachInstance(t, func(t *testing.T, in *instance) {
		if _, err := in.apply(operator(t.Context()), parse(t, `
tenants: [{slug: berlin, name: Berlin}]
users:
- {email: ann@berlin.example, name: {given: Ann, family: Berg}, password: correct horse battery, memberships: [{tenant: berlin, roles: [member], status: active}]}
applications:
- {client_id: shop, name: Shop, type: web, secret: `+strings.Repeat("s", 43)+`, redirect_uris: ["https://shop.example/callback"]}
`)); err != nil {
			t.Fatal(err)
		}
		handler := handlerOf(t, in)
		var statements atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(w, r.WithContext(storage.WithObserver(r.Context(), func(string) { statements.Add(1) })))
		}))
		defer server.Close()
		b, err := browser.New(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		wants := func(what string, want int64) {
			t.Helper()
			if got := statements.Swap(0); got > want {
				t.Errorf("%s takes %d statements, want %d", what, got, want)
			}
		}
		shop := application.Application{Issuer: server.URL, ClientID: "shop", RedirectURI: "https://shop.example/callback"}
		for _, want := range []int64{34, 30} { // the first finds nothing that is kept in memory
			b.SetCookie("rolecall_session", "")
			person := browser.Person{Login: "ann@berlin.example", Password: "correct horse battery"}
			callback, _, err := b.SignIn(t.Context(), shop.Request("openid tenant:berlin").URL(), person)
			if err != nil || callback.Query().Get("code") == "" {
				t.Fatalf("%s %v", callback, err)
			}
			wants("a sign-in with a password", want)
		}
		for path, want := range map[string]int64{
			"/me": 7, "/me/profile": 5, "/me/security": 9, "/me/tenants": 3, "/me/tenants/berlin": 7, "/me/applications": 3, "/me/tokens": 12, "/me/activity": 2,
		} {
			if page, err := b.Get(t.Context(), path); err != nil || page.Status != http.StatusOK {
				t.Fatalf("%s: %+v %v", path, page, err)
			}
			wants(path, want)
		}
	})
}
