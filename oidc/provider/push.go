package provider

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/oidc"
)

// pushedResponse is RFC 9126 §2.2.
type pushedResponse struct {
	RequestURI string `json:"request_uri"`
	ExpiresIn  int64  `json:"expires_in"`
}

// push is the endpoint for pushed authorization requests (RFC 9126 §2). What the
// application sends passes the same checks as at the authorization endpoint, where
// nothing but the address of it will come.
func (p *Provider) push(c *gin.Context) {
	application := applicationIn(c.Request.Context())
	parameters, err := p.pushable(c, application)
	if err != nil {
		p.fail(c, err)
		return
	}
	address, err := p.oidc.Push(c.Request.Context(), application, *parameters)
	if err != nil {
		p.fail(c, err)
		return
	}
	c.JSON(http.StatusCreated, pushedResponse{RequestURI: address.Reveal(), ExpiresIn: int64(oidc.PushedLifetime / time.Second)})
}

func (p *Provider) pushable(c *gin.Context, application *oidc.Application) (*oidc.Parameters, error) {
	form := url.Values{}
	for name, values := range c.Request.PostForm {
		switch name {
		case "client_secret", "client_assertion", "client_assertion_type": // prove who sends it
		default:
			form[name] = values
		}
	}
	if form.Has("request_uri") {
		return nil, invalidRequest("a pushed request has no request_uri (RFC 9126 §2.1)")
	}
	form.Set("client_id", application.ClientID)
	form, err := p.signedForm(c.Request.Context(), application, form)
	if err != nil {
		return nil, err
	}
	switch redirectURI := form.Get("redirect_uri"); {
	case redirectURI == "":
		return nil, invalidRequest("the parameter redirect_uri is missing")
	case !application.AllowsRedirect(redirectURI):
		return nil, invalidRequest("the redirect_uri is not one that is registered for the application")
	}
	parameters, err := p.parameters(c.Request.Context(), application, form)
	if err != nil {
		return nil, err
	}
	to := replyOf(form)
	parameters.RedirectURI, parameters.ResponseMode, parameters.State = to.redirectURI, to.mode, to.state
	if key := senderKey(c.Request.Context()); key != "" {
		if parameters.Key != "" && parameters.Key != key {
			return nil, invalidRequest("dpop_jkt is not the key of the DPoP proof (RFC 9449 §10.1)")
		}
		parameters.Key = key
	}
	return parameters, nil
}

// signedForm returns the parameters of a request: those of the request object
// alone, where there is one (RFC 9101 §6.3).
func (p *Provider) signedForm(ctx context.Context, application *oidc.Application, form url.Values) (url.Values, error) {
	switch {
	case form.Get("request") != "":
		if len(form["request"]) > 1 {
			return nil, invalidRequest("the parameter request is repeated")
		}
		if form.Get("request_uri") != "" {
			return nil, invalidRequest("request and request_uri can't stand together (RFC 9101 §5)")
		}
		return p.oidc.RequestObject(ctx, application, form.Get("request"))
	case application.Security.RequireSigned:
		return nil, fault.New(fault.Invalid, "the application has to sign its requests (RFC 9101)").WithCode(oidc.InvalidRequestObject)
	}
	return form, nil
}

// pushed goes on with a request that the application has pushed. Beside its
// address and the client_id nothing of what the browser brings counts
// (RFC 9126 §4).
func (p *Provider) pushed(c *gin.Context, form url.Values) {
	application, err := p.known(c, form)
	if err == nil {
		err = once(form, "request_uri")
	}
	if err != nil {
		p.errorPage(c, err)
		return
	}
	parameters, err := p.oidc.Pushed(c.Request.Context(), application, form.Get("request_uri"))
	if err != nil {
		p.errorPage(c, err)
		return
	}
	p.begin(c, application, parameters)
}
