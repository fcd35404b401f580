package provider

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/secret"
)

// mediaIntrospection is the media type of a signed answer (RFC 9701 §5).
const mediaIntrospection = "application/token-introspection+jwt"

// introspect answers RFC 7662 §2, signed where the caller asks for that (RFC 9701
// §4).
func (p *Provider) introspect(c *gin.Context) {
	ctx, token := c.Request.Context(), secret.NewText(c.Request.PostForm.Get("token"))
	if token.Empty() {
		p.fail(c, invalidRequest("the parameter token is missing"))
		return
	}
	c.Header("Vary", "Accept")
	if accepts(c.Request.Header.Values("Accept"), mediaIntrospection) {
		answer, err := p.oidc.IntrospectSigned(ctx, applicationIn(ctx), token)
		if err != nil {
			p.fail(c, err)
			return
		}
		c.Data(http.StatusOK, mediaIntrospection, []byte(answer))
		return
	}
	answer, err := p.oidc.Introspect(ctx, applicationIn(ctx), token)
	if err != nil {
		p.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, answer)
}

// accepts reports whether an Accept header names the media type itself, and does not
// rule it out (RFC 9110 §12.5.1).
func accepts(headers []string, media string) bool {
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		named, parameters, err := mime.ParseMediaType(part)
		if err != nil || named != media {
			continue
		}
		weight, err := strconv.ParseFloat(parameters["q"], 64)
		return err != nil || weight > 0
	}
	return false
}
