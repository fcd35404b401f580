package provider_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/storage"
)

// BenchmarkDirect compares the hot requests with a bare handler of the same
// framework, without a network between: the ratios are the worst there are.
func BenchmarkDirect(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	store, err := storage.Open(b.Context(), dbtest.Postgres(b))
	must(b, err)
	defer store.Close()
	must(b, store.Migrate(b.Context()))
	in := newInstance(b, store)
	in.application(b, nil)
	p := in.person(b)
	in.machine(b, p.tenant, nil)
	issued := p.browser.obtain(b)
	engine := gin.New()
	in.provider.Mount(engine)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	engine.POST("/bare", func(c *gin.Context) { c.JSON(http.StatusOK, map[string]any{"active": true}) })
	engine.POST("/bare/es256", func(c *gin.Context) {
		sum := sha256.Sum256([]byte("payload"))
		signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		must(b, err)
		c.JSON(http.StatusOK, map[string]any{"signature": signature})
	})
	for _, bench := range []struct {
		name, path, client, secret string
		form                       url.Values
	}{
		{"bare", "/bare", "shop", shopSecret, url.Values{"token": {issued.access}}},
		{"introspect", "/oauth2/introspect", "shop", shopSecret, url.Values{"token": {issued.access}}},
		{"bare ES256", "/bare/es256", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}}},
		{"client_credentials", "/oauth2/token", "robot", robotSecret, url.Values{"grant_type": {"client_credentials"}}},
	} {
		body := bench.form.Encode()
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, bench.path, strings.NewReader(body))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.SetBasicAuth(url.QueryEscape(bench.client), url.QueryEscape(bench.secret))
				w := httptest.NewRecorder()
				engine.ServeHTTP(w, r)
				if w.Code != http.StatusOK || strings.Contains(w.Body.String(), `"active":false`) {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
