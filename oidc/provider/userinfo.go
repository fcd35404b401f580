package provider

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// userInfo answers OIDC Core §5.3: GET, or POST with the token in the header or
// in the body.
func (p *Provider) userInfo(c *gin.Context) {
	if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodPost {
		c.Header("Allow", "GET, POST")
		c.AbortWithStatusJSON(http.StatusMethodNotAllowed, oauthError{oidc.InvalidRequest, "the request must use GET or POST"})
		return
	}
	token, err := bearerToken(c)
	if err != nil {
		p.refuseBearer(c, err)
		return
	}
	if token.Empty() { // RFC 6750 §3.1: no error code where there was no attempt
		c.Header("WWW-Authenticate", bearerChallenge)
		c.AbortWithStatus(http.StatusUnauthorized)
		return
	}
	info, err := p.oidc.UserInfo(c.Request.Context(), token)
	if err != nil {
		p.refuseBearer(c, err)
		return
	}
	c.JSON(http.StatusOK, info)
}

const bearerChallenge = `Bearer realm="rolecall"` //nolint:gosec // no credential

// bearerToken returns the access token of a request (RFC 6750 §2.1, §2.2), or
// none. A token in the address is not looked at: addresses are logged.
func bearerToken(c *gin.Context) (secret.Text, error) {
	scheme, fromHeader, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		fromHeader = ""
	}
	fromBody := ""
	if c.Request.Method == http.MethodPost && c.Request.ContentLength != 0 {
		if err := parseBody(c.Writer, c.Request); err != nil {
			return secret.Text{}, err
		}
		fromBody = c.Request.PostForm.Get("access_token")
	}
	if fromHeader != "" && fromBody != "" {
		return secret.Text{}, invalidRequest("the access token must be sent by one method only")
	}
	return secret.NewText(strings.TrimSpace(fromHeader + fromBody)), nil
}

// refuseBearer answers as RFC 6750 §3 asks.
func (p *Provider) refuseBearer(c *gin.Context, err error) {
	e, status := p.errorOf(c.Request.Context(), err)
	if status < http.StatusInternalServerError {
		c.Header("WWW-Authenticate", fmt.Sprintf(`%s, error="%s", error_description="%s"`, bearerChallenge, e.Code, e.Description))
	}
	c.AbortWithStatusJSON(status, e)
}
