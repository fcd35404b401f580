package portal_test

import (
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/secret"
)

// A page of the second factor leads to the other ways, and what is typed there
// is judged the same.
func TestAnotherWay(t *testing.T) {
	t.Parallel()
	s := newSite(t).withTOTP(t)
	codes := must(s.authn.NewRecoveryCodes(t.Context(), s.ann.ID))(t)
	b := s.browser(t)
	at := b.submitPassword(t)
	link := at + "&way=recovery"
	wantPage(t, b.get(t, at), 200, "authenticator app and enter", strings.ReplaceAll(link, "&", "&amp;"))
	other := b.get(t, link)
	wantPage(t, other, 200, "recovery codes that you have kept", "way=app")
	if strings.Contains(other.body, "trust_device") {
		t.Error("a recovery code makes a browser trusted")
	}
	wantPage(t, b.get(t, at+"&way=pigeon"), 200, "authenticator app and enter")
	wantPage(t, b.post(t, link, "code", secret.Random("").Reveal()), 422, "recovery codes that you have kept")
	wantRedirect(t, b.post(t, link, "code", codes[0].Reveal()), "/me")
}
