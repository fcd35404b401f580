package authn_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/authn"
)

func TestLocalPathAcceptsPathsOfThisSite(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"/", "/me", "/oauth2/authorize/continue?request=0198c0de-0000-7000-8000-000000000000", "/t/berlin/users?filter=a%20b&x=//y",
		"/me?next=https://evil.example", "/@evil.example", "/a@b",
	} {
		if !authn.LocalPath(s) {
			t.Errorf("%q was refused", s)
		}
	}
}

// RFC 9700 §4.11.2: no open redirector. Browsers drop tabs and line ends, and
// take a backslash for a slash.
func TestLocalPathRefusesAddressesElsewhere(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "me", "//evil.example", "///evil.example", "////evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`,
		`/\/evil.example`, "https://evil.example", "https:evil.example", "https:/evil.example", "http:///evil.example", "HTTPS://evil.example",
		"javascript:alert(1)", "data:text/html,x", "/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "\t//evil.example", " //evil.example",
		" /me", "/me\x00", "/\x00/evil.example", "/\x0b/evil.example", "/\x7f/evil.example", "/me\r\nSet-Cookie: x=y", "/./../evil.example/..//",
		"/../..//evil.example", "/.//evil.example", "/..//evil.example", "/x/..//evil.example", "/%2f/..//evil.example", "/%zz", "?x", "#x", "evil.example/me",
		"user@evil.example", "//user:pass@evil.example/", "//evil.example:80", "//[::1]/", "//127.0.0.1/", "//evil%2eexample", "/%5cevil.example/../..//",
		"/\xff", "\ufeff//evil.example", "／／evil.example", "/me/\u2028//", "//evil。example", "/" + strings.Repeat("a", 4096),
	} {
		if authn.LocalPath(s) {
			t.Errorf("%q was accepted", s)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/me", "//evil", `/\evil`, "/a/../..//b", "/\t/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !authn.LocalPath(s) {
			return
		}
		if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\t\r\n\x00 ") {
			t.Errorf("%q was accepted", s)
		}
	})
}
