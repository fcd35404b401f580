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
		notAllowed(c, "GET, POST")
		return
	}
	token, err := accessToken(c)
	if err != nil {
		p.refuseBearer(c, err)
		return
	}
	if token.Token.Empty() { // RFC 6750 §3.1: no error code where there was no attempt
		c.Header("WWW-Authenticate", bearerChallenge)
		c.Writer.Header().Add("WWW-Authenticate", dpopChallenge())
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

// accessToken returns the access token of a request (RFC 6750 §2.1, §2.2,
// RFC 9449 §7.1), or none. A token in the address is not looked at: addresses are
// logged.
func accessToken(c *gin.Context) (oidc.Presented, error) {
	presented := oidc.Presented{Possession: possession(c)}
	scheme, fromHeader, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	presented.Bound = strings.EqualFold(scheme, oidc.TokenTypeDPoP)
	if !presented.Bound && !strings.EqualFold(scheme, oidc.TokenTypeBearer) {
		fromHeader = ""
	}
	fromBody := ""
	if c.Request.Method == http.MethodPost && c.Request.ContentLength != 0 {
		if err := parseBody(c.Writer, c.Request); err != nil {
			return presented, err
		}
		fromBody = c.Request.PostForm.Get("access_token")
	}
	if fromHeader != "" && fromBody != "" {
		return presented, invalidRequest("the access token must be sent by one method only")
	}
	presented.Token = secret.NewText(strings.TrimSpace(fromHeader + fromBody))
	return presented, nil
}

// refuseBearer answers as RFC 6750 §3 asks.
func (p *Provider) refuseBearer(c *gin.Context, err error) {
	e, status := p.errorOf(c.Request.Context(), err)
	if status < http.StatusInternalServerError {
		challenge := bearerChallenge + ","
		if scheme, _, _ := strings.Cut(c.GetHeader("Authorization"), " "); strings.EqualFold(scheme, oidc.TokenTypeDPoP) {
			challenge = dpopChallenge() + ","
		}
		challenge = fmt.Sprintf(`%s error="%s", error_description="%s"`, challenge, e.Code, e.Description)
		if e.Code == oidc.InsufficientUserAuthentication { // RFC 9470 §3
			challenge += `, acr_values="` + oidc.StepUpACR + `"`
		}
		c.Header("WWW-Authenticate", challenge)
	}
	if e.Code == oidc.UseDPoPNonce {
		c.Header(headerNonce, p.oidc.DPoPNonce())
	}
	c.AbortWithStatusJSON(status, e)
}
