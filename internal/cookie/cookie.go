// Package cookie names the server's cookies and decides their attributes, for
// every edge that reads or sets one. But for the language, values are random
// tokens; what they stand for is kept in the database under their hash.
package cookie

import (
	"net/http"
	"time"

	"github.com/rolecall/rolecall/internal/secret"
)

// The cookies, by their names over plain HTTP. Over HTTPS they carry the
// prefix __Host-, which binds them to one host, one path and TLS (RFC 6265bis
// §4.1.3.2).
const (
	Session = "rolecall_session" // a signed-in browser
	Device  = "rolecall_device"  // a trusted device
	Known   = "rolecall_known"   // a browser in which somebody has signed in before; lets nobody in
	Browser = "rolecall_browser" // ties an unfinished sign-in to the browser that began it

	Language = "rolecall_language" // the language that was chosen; no secret, a tag of BCP 47
)

// Jar sets and reads cookies for one deployment.
type Jar struct {
	secure bool
}

// NewJar returns a Jar; secure says that the public URL is HTTPS.
func NewJar(secure bool) Jar { return Jar{secure: secure} }

func (j Jar) name(cookie string) string {
	if j.secure {
		return "__Host-" + cookie
	}
	return cookie
}

// Set hands a cookie to the browser. A zero expires makes it end with the
// browser.
func (j Jar) Set(w http.ResponseWriter, cookie string, value secret.Text, expires time.Time) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure follows the public URL: a developer's has no TLS
		Name: j.name(cookie), Value: value.Reveal(), Path: "/", Expires: expires,
		Secure: j.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// Clear takes a cookie back.
func (j Jar) Clear(w http.ResponseWriter, cookie string) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // as in Set
		Name: j.name(cookie), Path: "/", MaxAge: -1,
		Secure: j.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// Get returns the cookie that the browser sent, or the empty secret.
func (j Jar) Get(r *http.Request, cookie string) secret.Text {
	c, err := r.Cookie(j.name(cookie))
	if err != nil {
		return secret.Text{}
	}
	return secret.NewText(c.Value)
}

// Ensure returns the browser's cookie of that name, after setting a fresh one
// for the length of the browser's session where there was none.
func (j Jar) Ensure(w http.ResponseWriter, r *http.Request, cookie string) secret.Text {
	if value := j.Get(r, cookie); !value.Empty() {
		return value
	}
	value := secret.Random("")
	j.Set(w, cookie, value, time.Time{})
	return value
}
