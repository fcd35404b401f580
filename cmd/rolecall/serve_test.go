package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// TestPagesOfAllEdgesFindTheirStylesheet asks for a page of each edge that has
// some, and for what it links to.
func TestPagesOfAllEdgesFindTheirStylesheet(t *testing.T) {
	eachInstance(t, func(t *testing.T, in *instance) {
		srv, err := in.server(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		get := func(path string) *httptest.ResponseRecorder {
			recorder := httptest.NewRecorder()
			srv.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, http.NoBody))
			return recorder
		}
		link := regexp.MustCompile(`<link rel="stylesheet" href="([^"]+)">`)
		for _, path := range []string{"/login", "/nowhere", "/oauth2/authorize?client_id=nobody", "/oauth2/end_session"} {
			found := link.FindStringSubmatch(get(path).Body.String())
			if found == nil {
				t.Errorf("%s links to no stylesheet", path)
				continue
			}
			if css := get(found[1]); css.Code != http.StatusOK || !strings.HasPrefix(css.Header().Get("Content-Type"), "text/css") {
				t.Errorf("%s links to %s, which answers %d", path, found[1], css.Code)
			}
		}
	})
}
