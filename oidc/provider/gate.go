package provider

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// basicChallenge answers failed client authentication (RFC 6749 §5.2).
const basicChallenge = `Basic realm="rolecall", charset="UTF-8"`

// private marks an answer that nobody but its receiver may keep (RFC 6749 §5.1).
func (p *Provider) private(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	c.Header("Pragma", "no-cache")
}

// public marks an answer that is everybody's, browser applications included.
func (p *Provider) public(c *gin.Context) {
	c.Header("Cache-Control", publicMaxAge)
	c.Header("Access-Control-Allow-Origin", "*")
}

// cors lets browser applications read answers from where an SPA is registered,
// and nowhere else. Cookies never count: credentials are not allowed.
func (p *Provider) cors(c *gin.Context) {
	origin := c.GetHeader("Origin")
	if origin == "" {
		return
	}
	c.Header("Vary", "Origin")
	allowed, err := p.oidc.AllowsOrigin(c.Request.Context(), origin)
	if err != nil {
		p.fail(c, err)
		return
	}
	if allowed {
		c.Header("Access-Control-Allow-Origin", origin)
		c.Header("Access-Control-Expose-Headers", "WWW-Authenticate, "+headerNonce)
	}
	if c.Request.Method != http.MethodOptions {
		return
	}
	if allowed {
		c.Header("Access-Control-Allow-Methods", "GET, POST")
		c.Header("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
		c.Header("Access-Control-Max-Age", "600")
	}
	c.AbortWithStatus(http.StatusNoContent)
}

// postOnly reads the body's parameters and nothing else: secrets don't belong
// into addresses (RFC 6749 §2.3.1, §3.2).
func (p *Provider) postOnly(c *gin.Context) {
	if c.Request.Method != http.MethodPost {
		notAllowed(c, http.MethodPost)
		return
	}
	if err := parseBody(c.Writer, c.Request); err != nil {
		p.fail(c, err)
	}
}

// parseBody leaves the body's parameters in r.PostForm and r.Form. It refuses
// what the protocols don't allow: another encoding, a parameter that repeats
// (RFC 6749 §3.2), a large body.
func parseBody(w http.ResponseWriter, r *http.Request) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return invalidRequest("the body must be application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	r.URL.RawQuery = "" // or r.Form would mix query and body
	if err := r.ParseForm(); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return invalidRequest("the body must not be larger than %d bytes", maxBody)
		}
		return invalidRequest("the body is malformed")
	}
	if name := repeated(r.PostForm); name != "" {
		return invalidRequest("the parameter %s is repeated", printable(name))
	}
	return nil
}

// maxResources bounds how many resources a request may name.
const maxResources = 16

// repeated returns the name of a parameter that stands more than once, or "".
// There may be several resources (RFC 8707 §2), and a token exchange may have
// several audiences (RFC 8693 §2.1).
func repeated(form url.Values) string {
	exchange := form.Get("grant_type") == oidc.GrantTokenExchange
	for name, values := range form {
		if len(values) > 1 && (name != "resource" || len(values) > maxResources) && (name != "audience" || !exchange) {
			return name
		}
	}
	return ""
}

// printable keeps a name that came from outside within what RFC 6749 §5.2 allows
// in error_description.
func printable(name string) string {
	kept := []byte{}
	for _, b := range []byte(name) {
		if len(kept) < 64 && b >= ' ' && b <= '~' && b != '"' && b != '\\' {
			kept = append(kept, b)
		}
	}
	return string(kept)
}

// tokenGate refuses grants that the server doesn't have before anybody is asked
// to authenticate for them.
func (p *Provider) tokenGate(c *gin.Context) {
	switch grant := c.Request.PostForm.Get("grant_type"); {
	case grant == "":
		p.fail(c, invalidRequest("the parameter grant_type is missing"))
	case !slices.Contains(grantTypes(), grant):
		p.fail(c, fault.New(fault.Unsupported, "the grant types are %s", strings.Join(grantTypes(), ", ")).WithCode(oidc.UnsupportedGrantType))
	default:
		p.fromPeer(c)
	}
}

// fromPeer keeps the address that a request comes from for the methods of op.Server.
func (p *Provider) fromPeer(c *gin.Context) {
	if from, err := netip.ParseAddr(c.ClientIP()); err == nil {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), peerKey{}, from.Unmap()))
	}
}

// peerKey is the context key of the address that a request comes from, which
// op.Server does not hand on.
type peerKey struct{}

// peer returns the address that the request of ctx comes from. The zero one is
// in no network.
func peer(ctx context.Context) netip.Addr {
	from, _ := ctx.Value(peerKey{}).(netip.Addr)
	return from
}

// clientGate lets applications through that have proven who they are, and leaves
// them in the context: op.Server knows too little of how that is done.
func (p *Provider) clientGate(c *gin.Context) {
	proof, err := p.clientProof(c)
	if err != nil {
		p.fail(c, err)
		return
	}
	application, err := p.oidc.Authenticate(c.Request.Context(), proof)
	if err != nil {
		p.fail(c, err)
		return
	}
	if proof.Method == oidc.AuthNone && c.Request.URL.Path == pathIntrospect {
		p.fail(c, invalidClient("introspection needs client authentication"))
		return
	}
	ctx := context.WithValue(c.Request.Context(), answerKey{}, c.Writer.Header())
	c.Request = c.Request.WithContext(context.WithValue(ctx, applicationKey{}, application))
}

// applicationKey is the context key of the application that sends a request.
type applicationKey struct{}

// applicationIn returns the application that clientGate has let through.
func applicationIn(ctx context.Context) *oidc.Application {
	a, _ := ctx.Value(applicationKey{}).(*oidc.Application)
	return a
}

// clientProof reads how the client authenticates, which is by one method, in the
// header or in the body (RFC 6749 §2.3, RFC 7523 §2.2).
func (p *Provider) clientProof(c *gin.Context) (oidc.ClientProof, error) {
	form := c.Request.PostForm
	header := c.GetHeader("Authorization") != ""
	body := form.Get("client_secret") != ""
	asserted := form.Get("client_assertion") != "" || form.Get("client_assertion_type") != ""
	proof := oidc.ClientProof{
		Method: oidc.AuthNone, ClientID: form.Get("client_id"), Secret: secret.NewText(form.Get("client_secret")),
		Assertion: form.Get("client_assertion"), Audiences: []string{p.base + pathToken, p.base + c.Request.URL.Path},
	}
	if _, _, basic := c.Request.BasicAuth(); header && !basic {
		return proof, errBasic()
	}
	switch {
	case header && (body || asserted) || body && asserted:
		return proof, invalidRequest("the client must authenticate by one method only")
	case header:
		proof.Method = oidc.AuthSecretBasic
		return proof, basicProof(c, &proof)
	case asserted && form.Get("client_assertion_type") != oidc.ClientAssertionType:
		return proof, invalidClient("the client_assertion_type must be " + oidc.ClientAssertionType)
	case asserted:
		proof.Method = oidc.AuthPrivateKeyJWT
	case proof.ClientID == "":
		return proof, invalidClient("client authentication is missing")
	case body:
		proof.Method = oidc.AuthSecretPost
	}
	return proof, nil
}

// basicProof reads the header, within which both parts are form-encoded
// (RFC 6749 §2.3.1).
func basicProof(c *gin.Context, proof *oidc.ClientProof) error {
	user, password, _ := c.Request.BasicAuth()
	clientID, badID := url.QueryUnescape(user)
	clientSecret, badSecret := url.QueryUnescape(password)
	switch {
	case badID != nil || badSecret != nil || clientID == "":
		return errBasic()
	case proof.ClientID != "" && proof.ClientID != clientID:
		return invalidRequest("the client_id in the body is not that of the Authorization header")
	}
	proof.ClientID, proof.Secret = clientID, secret.NewText(clientSecret)
	return nil
}

func errBasic() error {
	return invalidClient("the Authorization header is not HTTP Basic with a client_id")
}

// dispatch hands over to op.Server.
func (p *Provider) dispatch(c *gin.Context) {
	p.library.ServeHTTP(challenger{c.Writer}, c.Request)
}

// challenger adds the challenge that the library leaves out of a 401.
type challenger struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w challenger) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", basicChallenge)
	}
	w.ResponseWriter.WriteHeader(status)
}
