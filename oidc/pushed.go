package oidc

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// RequestURIPrefix begins every address of a pushed request (RFC 9126 §2.2).
const RequestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// PushedLifetime is how long a browser may come with a pushed request.
const PushedLifetime = 90 * time.Second

// A PushedRequest is an authorization request that the application itself has
// delivered (RFC 9126). A browser may begin it again until it is completed: people
// reload pages. Completing it uses it up.
type PushedRequest struct {
	Hash       secret.Hash // of its address
	ClientID   string
	Parameters Parameters
	Expires    time.Time
}

// Push keeps a request of the application and returns its address.
func (o *OIDC) Push(ctx context.Context, a *Application, parameters Parameters) (secret.Text, error) {
	address := secret.Random(RequestURIPrefix)
	return address, o.store.CreatePushedRequest(ctx, &PushedRequest{
		Hash: address.Hash(), ClientID: a.ClientID, Parameters: parameters, Expires: o.now().Add(PushedLifetime),
	})
}

// Pushed returns what the application has pushed under the address. It fails with
// invalid_request_uri in the same way for what is another's, has expired, was
// completed or never was.
func (o *OIDC) Pushed(ctx context.Context, a *Application, address string) (*Parameters, error) {
	if !strings.HasPrefix(address, RequestURIPrefix) {
		return nil, refuse(RequestURINotSupported, "the request_uri must be one of a pushed request: no other is looked at")
	}
	hash := secret.NewText(address).Hash()
	pushed, err := o.store.PushedRequest(ctx, hash, a.ClientID, o.now())
	if errors.Is(err, fault.NotFound) {
		return nil, refuse(InvalidRequestURI, "the pushed request has expired or was completed: go back to the application and start again")
	}
	if err != nil {
		return nil, err
	}
	pushed.Parameters.Pushed = base64.RawURLEncoding.EncodeToString(hash[:])
	return &pushed.Parameters, nil
}

// completePushed uses up the pushed request that r came by, if it did. It fails
// with fault.NotFound where another browser or tab was faster.
func (o *OIDC) completePushed(ctx context.Context, r *AuthorizationRequest) error {
	if r.Pushed == "" {
		return nil
	}
	hash, err := base64.RawURLEncoding.DecodeString(r.Pushed)
	if err != nil || len(hash) != len(secret.Hash{}) {
		return &fault.Error{Kind: fault.NotFound, Err: err}
	}
	return o.store.TakePushedRequest(ctx, secret.Hash(hash), r.ClientID)
}
