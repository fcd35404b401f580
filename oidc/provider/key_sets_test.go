package provider_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rolecall/rolecall/oidc/provider"
)

// TestKeySets_Private: keys are fetched from private addresses where the operator says
// so, and nowhere else.
func TestKeySets_Private(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) }))
	t.Cleanup(server.Close)
	for _, private := range []bool{false, true} {
		text, err := provider.NewKeySets(private).KeySet(t.Context(), server.URL)
		if (err == nil) != private || private && string(text) != `{"keys":[]}` {
			t.Errorf("private %v: %q, %v", private, text, err)
		}
	}
}
