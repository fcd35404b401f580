package provider

import (
	"context"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
)

// headerNonce hands out the nonce for the next proof (RFC 9449 §8.1).
const headerNonce = "DPoP-Nonce"

// possession is what a request says of the key of its sender.
func possession(c *gin.Context) oidc.Possession {
	return oidc.Possession{Proofs: c.Request.Header.Values("DPoP"), Method: c.Request.Method, Path: c.Request.URL.EscapedPath()}
}

// senderGate leaves the key that the sender has proven to have in the context. A
// proof that is not accepted ends the request, whether one is needed or not, and
// before a code is used up.
func (p *Provider) senderGate(c *gin.Context) {
	ctx := c.Request.Context()
	application := applicationIn(ctx)
	if application.Security.DPoPNonce {
		c.Header(headerNonce, p.oidc.DPoPNonce())
	}
	proof := possession(c)
	if !proof.Sent() {
		return
	}
	key, err := p.oidc.ProveKey(ctx, application, proof, secret.Text{})
	if err != nil {
		p.fail(c, err)
		return
	}
	c.Request = c.Request.WithContext(context.WithValue(ctx, senderContextKey{}, key))
}

type senderContextKey struct{}

// senderKey returns the thumbprint of the key that the sender of the request of
// ctx has proven to have; empty: none.
func senderKey(ctx context.Context) string {
	key, _ := ctx.Value(senderContextKey{}).(string)
	return key
}

// dpopAlgs are the algorithms that proofs are signed with.
func dpopAlgs() []string {
	var names []string
	for _, alg := range oidc.DPoPAlgs() {
		names = append(names, string(alg))
	}
	return names
}

// dpopChallenge asks for a proof (RFC 9449 §7.1).
func dpopChallenge() string { return `DPoP algs="` + strings.Join(dpopAlgs(), " ") + `"` }
