package upstream

import (
	"context"
	"time"

	"github.com/rolecall/rolecall/internal/secret"
)

// Party speaks OpenID Connect to providers, as their relying party. Its errors are
// faults with one of the Codes, whose causes are for logs.
type Party interface {
	// Address returns where to send the browser with the question (OIDC Core
	// §3.1.2.1).
	Address(ctx context.Context, c *Client, q *Question) (string, error)
	// Redeem checks the answer that the browser came back with, redeems its code
	// and returns what the provider says of the person, after all that OIDC Core
	// §3.1.3.7 demands: of nonce, the hash has to fit.
	Redeem(ctx context.Context, c *Client, a *Answer, verifier secret.Text, nonce secret.Hash) (*Claims, error)
	// Document returns what the provider says of itself, read anew.
	Document(ctx context.Context, issuer string) (*Document, error)
}

// A Client is what a provider knows us as.
type Client struct {
	Issuer      string
	ID          string
	Secret      secret.Text // empty: a public one
	RedirectURI string
}

// A Question is what a provider is asked.
type Question struct {
	Scopes   []string
	State    secret.Text
	Nonce    secret.Text
	Verifier secret.Text // of which the challenge is sent (RFC 7636)
	Hint     string      // of who is expected; may be empty
	Fresh    bool        // the person has to show who they are anew
	Classes  []string    // acr_values
}

// An Answer is what the browser came back with (OIDC Core §3.1.2.5, §3.1.2.6).
type Answer struct {
	State  secret.Text
	Code   secret.Text
	Issuer string // RFC 9207
	Error  string
}

// Claims are what a provider says of a person.
type Claims struct {
	Subject       string
	Email         string
	EmailVerified bool
	Given, Family string
	Name          string
	Locale        string
	AuthTime      time.Time // zero: it does not say
	ACR           string
	AMR           []string
	// All has every claim, for those that a provider is trusted with by name.
	All map[string]any
}

// A Document is what a provider says of itself, as far as it is shown.
type Document struct {
	AuthorizationEndpoint string
	TokenEndpoint         string
	PKCE                  bool // it says that it takes S256
	Algorithms            []string
	Keys                  int // that it publishes
}

// Codes of the faults of upstream sign-ins, for the page to choose its words by.
const (
	CodeUnreachable = "provider_unreachable"   // fault.Overloaded: it does not answer, or not as a provider does
	CodeCanceled    = "provider_canceled"      // fault.Denied: the person, or the provider, would not
	CodeAnswer      = "provider_answer"        // fault.Denied: what it says is not to be believed
	CodeNotFresh    = "provider_not_fresh"     // fault.Denied: it did not ask the person anew
	CodeUnverified  = "provider_unverified"    // fault.Denied: no address that it vouches for, of a domain of the tenant
	CodeStranger    = "provider_stranger"      // fault.Denied: the person is no member
	CodeNotAdmitted = "provider_not_admitted"  // fault.Denied: the membership, or the login, is closed
	CodeGone        = "provider_sign_in_gone"  // fault.NotFound: used, expired, or of another browser
	CodeTaken       = "provider_account_taken" // fault.Conflict: the account is linked to somebody else
)
