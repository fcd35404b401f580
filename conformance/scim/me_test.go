package scim

import (
	"strings"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
)

// signIn signs the tenant's person in and returns the access token.
func (x *tester) signIn() string {
	x.Helper()
	b, err := browser.New(x.server.URL)
	if err != nil {
		x.Fatal(err)
	}
	desk := application.Application{Issuer: x.server.URL, ClientID: "desk", Secret: deskSecret, RedirectURI: "https://desk.example/callback"}
	tokens, err := desk.SignIn(x.Context(), b, "openid api tenant:"+x.slug, browser.Person{Login: "me@" + x.slug + ".example", Password: personPassword})
	if err != nil {
		x.Fatal(err)
	}
	return tokens.String("access_token")
}

func me(x *tester) {
	if a := x.get("/Me"); a.status == 501 {
		x.leave("/Me: %s", a.text("detail"))
	}
	mine := "Authorization: Bearer " + x.signIn()
	users := x.want(x.get("/Users?filter=userName%20eq%20%22me@"+x.slug+".example%22"), 200)
	location := x.base + "/Users/" + ids(users)[0]
	a := x.get("/Me", mine)
	if a.status == 308 || a.status == 307 {
		x.same("Location", a.header.Get("Location"), location)
		return
	}
	x.want(a, 200)
	x.same("id", a.id(), ids(users)[0])
	x.same("schemas of who was made by another way than SCIM", a.at("schemas"), l{userURN})
	x.same("meta.location", a.at("meta.location"), location)
	got := a.header.Get("Location")
	if got == "" {
		got = a.header.Get("Content-Location")
	}
	x.same("Location", got, location)
	x.ok(strings.HasPrefix(a.header.Get("ETag"), `W/"`), "no ETag")
	x.same("attributes", x.want(x.get("/Me?attributes=userName", mine), 200).body, m{"schemas": a.at("schemas"), "id": a.id(), "userName": a.at("userName")})
	x.wantError(x.get("/Me", "Authorization: "), 401)
	connection := x.get("/Me")
	x.ok(connection.status == 404 || connection.status == 403 || connection.status == 501, "/Me of a connection, which is nobody: got %d %s", connection.status, connection.raw)
	others := x.get("/Users", mine)
	x.ok(others.status == 401 || others.status == 403, "a person's token lists everybody: got %d", others.status)
}
