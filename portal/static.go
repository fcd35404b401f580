package portal

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/gin-gonic/gin"
)

//go:embed static
var staticFiles embed.FS

// assets are the static files by the names that they are served under. A name
// holds a hash of the content, so that browsers may keep it for good.
type assets struct {
	files map[string]asset
	named map[string]string // plain name → address
}

type asset struct {
	contentType string
	content     []byte
}

// contentTypes of the static files; others are a mistake.
func contentType(name string) (string, error) {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".js":
		return "text/javascript; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	}
	return "", fmt.Errorf("portal: static file %s has no known type", name)
}

func loadAssets() (assets, error) {
	a := assets{files: map[string]asset{}, named: map[string]string{}}
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return assets{}, fmt.Errorf("portal: %w", err)
	}
	for _, entry := range entries {
		content, err := staticFiles.ReadFile("static/" + entry.Name())
		if err != nil {
			return assets{}, fmt.Errorf("portal: %w", err)
		}
		typ, err := contentType(entry.Name())
		if err != nil {
			return assets{}, err
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(entry.Name())
		name := strings.TrimSuffix(entry.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		a.files[name] = asset{contentType: typ, content: content}
		a.named[entry.Name()] = "/static/" + name
	}
	return a, nil
}

// address returns where a static file is served.
func (a assets) address(name string) (string, error) {
	address, ok := a.named[name]
	if !ok {
		return "", fmt.Errorf("no static file %q", name)
	}
	return address, nil
}

// icon is the icon of the pages' tab, in the page: it costs no request of its own.
func (a assets) icon() template.URL {
	_, name := path.Split(a.named["icon.svg"])
	content := base64.StdEncoding.EncodeToString(a.files[name].content)
	return template.URL("data:image/svg+xml;base64," + content) //nolint:gosec // made here
}

func (p *Portal) static(c *gin.Context) {
	file, ok := p.assets.files[c.Param("name")]
	if !ok {
		p.NotFound().ServeHTTP(c.Writer, c.Request)
		return
	}
	header := c.Writer.Header()
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	c.Data(http.StatusOK, file.contentType, file.content)
}
