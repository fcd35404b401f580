package portal

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/directory"
)

// themeOf is the address of the stylesheet of a tenant.
func themeOf(slug string) string { return "/t/" + slug + "/theme.css" }

// wear makes the page in the request look like the tenant's of that slug.
func wear(c *gin.Context, slug string) {
	if slugForm.MatchString(slug) {
		speechOf(c.Request.Context()).Theme = themeOf(slug)
	}
}

// theme serves what a tenant changes of the stylesheet. A tenant that does not
// exist, and one that changes nothing, get an empty one: it is asked for by people
// who have not signed in yet.
func (p *Portal) theme(c *gin.Context) error {
	look, err := p.directory.Look(c.Request.Context(), c.Param("tenant"))
	if err != nil {
		return err
	}
	serveLook(c, "text/css; charset=utf-8", []byte(themeText(look)))
	return nil
}

// themeText is a tenant's stylesheet. All in it was checked when it was set.
func themeText(look *directory.Branding) string {
	var css strings.Builder
	root := func(s directory.Scheme) {
		css.WriteString(":root {")
		for _, variable := range s.Variables() {
			fmt.Fprintf(&css, " --%s: %s;", variable[0], variable[1])
		}
		css.WriteString(" }\n")
	}
	if look.Light != (directory.Scheme{}) {
		css.WriteString("@media not all and (prefers-color-scheme: dark) { ")
		root(look.Light)
		css.WriteString("}\n")
	}
	if look.Dark != (directory.Scheme{}) {
		css.WriteString("@media (prefers-color-scheme: dark) { ")
		root(look.Dark)
		css.WriteString("}\n")
	}
	if look.Logo != nil { // in here, so that a page takes one request for all of it
		fmt.Fprintf(&css, ".brand { width: 12rem; max-width: 60vw; height: 2.5rem; background: url(\"data:%s;base64,%s\") left center / contain no-repeat; }\n",
			look.LogoType, base64.StdEncoding.EncodeToString(look.Logo))
		css.WriteString(".narrow .brand { margin-inline: auto; background-position: center; }\n.brand svg, .brand span { opacity: 0; }\n")
	}
	return css.String()
}

// serveLook answers with the content, or that the browser has it already
// (RFC 9110 §13.1.2).
func serveLook(c *gin.Context, contentType string, content []byte) {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	header := c.Writer.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", tag)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	if c.GetHeader("If-None-Match") == tag {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, contentType, content)
}
