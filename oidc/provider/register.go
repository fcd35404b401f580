package provider

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// registrationRequest is what is not metadata in a request to change a registration
// (RFC 7592 §2.2).
type registrationRequest struct {
	ClientID      *string      `json:"client_id"`
	ClientSecret  *secret.Text `json:"client_secret"`
	AccessToken   any          `json:"registration_access_token"`
	ClientURI     any          `json:"registration_client_uri"`
	SecretExpires any          `json:"client_secret_expires_at"`
	IssuedAt      any          `json:"client_id_issued_at"`
}

// register is the client registration endpoint (RFC 7591 §3).
func (p *Provider) register(c *gin.Context) {
	if c.Request.Method != http.MethodPost {
		notAllowed(c, http.MethodPost)
		return
	}
	p.withToken(c, func(token secret.Text, client authn.Client) error {
		var metadata oidc.ClientMetadata
		if err := readMetadata(c, &metadata); err != nil {
			return err
		}
		registered, err := p.oidc.Register(c.Request.Context(), token, metadata, client)
		if err != nil {
			return err
		}
		return p.writeRegistration(c, http.StatusCreated, registered)
	})
}

// registration is the client configuration endpoint (RFC 7592 §2).
func (p *Provider) registration(c *gin.Context) {
	clientID := c.Param("client_id")
	ctx := c.Request.Context()
	switch c.Request.Method {
	case http.MethodGet:
		p.withToken(c, func(token secret.Text, client authn.Client) error {
			registered, err := p.oidc.Registration(ctx, clientID, token, client)
			if err != nil {
				return err
			}
			return p.writeRegistration(c, http.StatusOK, registered)
		})
	case http.MethodPut:
		p.withToken(c, func(token secret.Text, client authn.Client) error {
			registered, err := p.changeRegistration(c, clientID, token, client)
			if err != nil {
				return err
			}
			return p.writeRegistration(c, http.StatusOK, registered)
		})
	case http.MethodDelete:
		p.withToken(c, func(token secret.Text, client authn.Client) error {
			if err := p.oidc.Unregister(ctx, clientID, token, client); err != nil {
				return err
			}
			c.Status(http.StatusNoContent)
			c.Writer.WriteHeaderNow()
			return nil
		})
	default:
		notAllowed(c, "GET, PUT, DELETE")
	}
}

// changeRegistration reads a request to change a registration. Whoever may not know
// of the application learns nothing of what is wrong with it.
func (p *Provider) changeRegistration(c *gin.Context, clientID string, token secret.Text, client authn.Client) (*oidc.Registered, error) {
	ctx := c.Request.Context()
	registered, err := p.oidc.Registration(ctx, clientID, token, client)
	if err != nil {
		return nil, err
	}
	var request registrationRequest
	var metadata oidc.ClientMetadata
	if err := readMetadata(c, &metadata, &request); err != nil {
		return nil, err
	}
	wrong := func(field, why string) error {
		return fault.Field(fault.Invalid, field, "%s", why).WithCode(oidc.InvalidClientMetadata)
	}
	if request.ClientID == nil || *request.ClientID != clientID {
		return nil, wrong("client_id", "it has to be the application's own")
	}
	for field, sent := range map[string]any{
		"registration_access_token": request.AccessToken, "registration_client_uri": request.ClientURI,
		"client_secret_expires_at": request.SecretExpires, "client_id_issued_at": request.IssuedAt,
	} {
		if sent != nil {
			return nil, wrong(field, "it is the server's to say: leave it out")
		}
	}
	return p.oidc.ChangeRegistration(ctx, registered, metadata, request.ClientSecret)
}

// withToken has do answer a request that brings a bearer token (RFC 6750 §2.1).
func (p *Provider) withToken(c *gin.Context, do func(token secret.Text, client authn.Client) error) {
	scheme, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, oidc.TokenTypeBearer) || token == "" {
		c.Header("WWW-Authenticate", bearerChallenge)
		c.AbortWithStatusJSON(http.StatusUnauthorized, oauthError{oidc.InvalidToken, "a token is needed in the header Authorization, as a bearer token"})
		return
	}
	err := do(secret.NewText(token), authn.Client{Address: c.ClientIP()})
	if err == nil {
		return
	}
	e, status := p.errorOf(c.Request.Context(), err)
	f := fault.As(err)
	switch f.Kind {
	case fault.Unauthenticated:
		c.Header("WWW-Authenticate", bearerChallenge+`, error="`+oidc.InvalidToken+`"`)
	case fault.Denied:
		status = http.StatusForbidden
	case fault.Throttled, fault.Overloaded:
		c.Header("Retry-After", fault.Seconds(f.RetryAfter))
	case fault.Internal, fault.NotFound, fault.Conflict, fault.Invalid, fault.Stale, fault.TooLarge, fault.Unsupported:
	}
	if f.Field != "" && status < http.StatusInternalServerError {
		e.Description = asASCII(f.Field) + ": " + e.Description
	}
	c.AbortWithStatusJSON(status, e)
}

// readMetadata reads the body, a JSON object, into each of these.
func readMetadata(c *gin.Context, into ...any) error {
	if media, _, err := mime.ParseMediaType(c.GetHeader("Content-Type")); err != nil || media != "application/json" {
		return invalidRequest("the body must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if err != nil {
		return invalidRequest("the body must not be larger than %d bytes", maxBody)
	}
	if text := strings.TrimSpace(string(body)); !strings.HasPrefix(text, "{") {
		return invalidRequest("the body must be a JSON object")
	}
	for _, v := range into {
		err := json.Unmarshal(body, v)
		if mistyped, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return fault.Field(fault.Invalid, mistyped.Field, "a JSON %s is not what is expected", mistyped.Value).WithCode(oidc.InvalidClientMetadata)
		}
		if err != nil {
			return invalidRequest("the body must be a JSON object")
		}
	}
	return nil
}

// writeRegistration answers with the application as it is registered (RFC 7591
// §3.2.1, RFC 7592 §3). A secret is stored as a hash: it is there when it was made,
// and not again.
func (p *Provider) writeRegistration(c *gin.Context, status int, registered *oidc.Registered) error {
	a := registered.Application
	text, err := json.Marshal(&a.Registration.Metadata)
	if err != nil {
		return err
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	answer["client_id"], answer["client_id_issued_at"] = a.ClientID, a.Created.Unix()
	answer["registration_access_token"] = registered.Token.Reveal()
	answer["registration_client_uri"] = p.base + pathRegister + "/" + a.ClientID
	if !registered.Secret.Empty() {
		answer["client_secret"] = registered.Secret.Reveal()
	}
	if len(a.Secrets) > 0 {
		answer["client_secret_expires_at"] = 0 // it does not (RFC 7591 §3.2.1)
	}
	c.JSON(status, answer)
	return nil
}
