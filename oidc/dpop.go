package oidc

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

const typDPoP = "dpop+jwt" // RFC 9449 §4.2

// How old a proof may be, how long a nonce is handed out, and in how many of
// these spans it is taken.
const (
	proofAge   = time.Minute
	nonceSpan  = time.Minute
	nonceSpans = 5
)

// DPoPAlgs returns the algorithms of proofs. RS256 is none of them: no client
// that knows DPoP needs it, and FAPI 2.0 forbids it.
func DPoPAlgs() []Alg { return []Alg{ES256, EdDSA, PS256} }

// A Possession is what a request says of the key that its sender has
// (RFC 9449 §4.1).
type Possession struct {
	Proofs []string // the values of the header DPoP
	Method string
	Path   string // below the issuer, as it was sent, without query
}

// Sent reports whether there is a proof.
func (p *Possession) Sent() bool { return len(p.Proofs) > 0 }

// Confirmation is the claim cnf: the key without which a token is worth nothing
// (RFC 7800 §3.1, RFC 9449 §6.1).
type Confirmation struct {
	Thumbprint string `json:"jkt"`
}

func confirm(thumbprint string) *Confirmation {
	if thumbprint == "" {
		return nil
	}
	return &Confirmation{Thumbprint: thumbprint}
}

// thumbprint is the inverse of confirm.
func (c *Confirmation) thumbprint() string {
	if c == nil {
		return ""
	}
	return c.Thumbprint
}

// ProveKey returns the thumbprint (RFC 7638) of the key that the sender of a
// request has proven to have. token is the access token that comes with it, where
// one does. It fails with invalid_dpop_proof, and with use_dpop_nonce where the
// application has to use one.
func (o *OIDC) ProveKey(ctx context.Context, a *Application, p Possession, token secret.Text) (string, error) {
	refused := func(problem string) error {
		return refuse(InvalidDPoPProof, "the DPoP proof is not accepted: %s", problem)
	}
	if len(p.Proofs) != 1 {
		return "", refused("there must be one")
	}
	claims, thumbprint, problem := openProof(p.Proofs[0])
	if problem != "" {
		return "", refused(problem)
	}
	rules := proofRules{method: p.Method, address: o.base() + p.Path, token: token, now: o.now()}
	id, expires, problem := readProof(claims, rules)
	if problem != "" {
		return "", refused(problem)
	}
	if a.Security.DPoPNonce {
		if nonce, _ := claims.text("nonce"); !o.takesNonce(nonce) {
			return "", refuse(UseDPoPNonce, "the proof needs the nonce of the header DPoP-Nonce")
		}
	}
	first, err := o.once(ctx, "dpop", thumbprint, id, expires)
	if err != nil {
		return "", err
	}
	if !first {
		return "", refused("its jti was used before")
	}
	return thumbprint, nil
}

// openProof checks the signature of a proof by the key within it, and returns the
// claims and the key's thumbprint, or what is wrong (RFC 9449 §4.3 #2 to #7).
func openProof(proof string) (claims claimSet, thumbprint, problem string) {
	if len(proof) > maxToken {
		return nil, "", "it is too long"
	}
	parsed, err := jose.ParseSignedCompact(proof, joseAlgs(DPoPAlgs()))
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, "", "it must be a JWT signed by ES256, EdDSA or PS256, with its public key in the header"
	}
	header := parsed.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(typ, typDPoP) {
		return nil, "", "typ must be " + typDPoP
	}
	key := header.JSONWebKey
	if key == nil || checkKey(key) != nil || !fits(key, Alg(header.Algorithm)) {
		return nil, "", "jwk must be a public key of its algorithm"
	}
	payload, err := parsed.Verify(key.Key)
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil, "", "its signature is not by the key in its header"
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, "", "jwk must be a public key of its algorithm"
	}
	return claims, base64.RawURLEncoding.EncodeToString(sum), ""
}

// proofRules are what the claims of a proof are held to.
type proofRules struct {
	method  string
	address string
	token   secret.Text
	now     time.Time
}

// readProof returns what identifies a proof and until when it would be accepted,
// or what is wrong with its claims (RFC 9449 §4.3 #8 to #12).
func readProof(claims claimSet, rules proofRules) (id string, expires time.Time, problem string) {
	method, _ := claims.text("htm")
	address, _ := claims.text("htu")
	issued, ok := claims.time("iat")
	id, _ = claims.text("jti")
	switch {
	case method != rules.method:
		return "", time.Time{}, "htm must be the method of the request"
	case address == "" || canonicalAddress(address) != canonicalAddress(rules.address):
		return "", time.Time{}, "htu must be the address of the request, " + rules.address
	case !ok || issued.IsZero() || issued.After(rules.now.Add(clockSkew)) || !issued.After(rules.now.Add(-proofAge)):
		return "", time.Time{}, "iat must be now, within a minute"
	case id == "" || len(id) > maxIdentifier:
		return "", time.Time{}, "jti must be a text that is used once"
	}
	if hash, _ := claims.text("ath"); !rules.token.Empty() && subtle.ConstantTimeCompare([]byte(hash), []byte(tokenHash(rules.token))) != 1 {
		return "", time.Time{}, "ath must be the hash of the access token"
	}
	return id, issued.Add(proofAge), ""
}

func tokenHash(token secret.Text) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// canonicalAddress is an address without query and fragment, and without what
// makes no difference (RFC 3986 §6.2.2, §6.2.3); empty for what is none.
func canonicalAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return ""
	}
	scheme, host, path := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.EscapedPath()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && (scheme != "https" || port != "443") && (scheme != "http" || port != "80") {
		host += ":" + port
	}
	if path == "" {
		path = "/"
	}
	return scheme + "://" + host + path
}

// base is the issuer without a slash at its end.
func (o *OIDC) base() string { return strings.TrimSuffix(o.issuer, "/") }

// DPoPNonce returns the nonce of the moment (RFC 9449 §8). Every node knows it
// without remembering any.
func (o *OIDC) DPoPNonce() string { return o.nonceOf(o.nonceSpan()) }

func (o *OIDC) nonceSpan() int64 { return o.now().Unix() / int64(nonceSpan/time.Second) }

func (o *OIDC) nonceOf(span int64) string {
	mac := hmac.New(sha256.New, o.nonceKey[:])
	_ = binary.Write(mac, binary.BigEndian, span) // a hash takes everything
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (o *OIDC) takesNonce(nonce string) bool {
	now := o.nonceSpan()
	for span := now; span > now-nonceSpans; span-- {
		if subtle.ConstantTimeCompare([]byte(nonce), []byte(o.nonceOf(span))) == 1 {
			return true
		}
	}
	return false
}

// Presented is an access token as a request presents it.
type Presented struct {
	Token secret.Text
	Bound bool // under the scheme DPoP, not Bearer
	Possession
}

// Bearer is a token under the scheme Bearer.
func Bearer(token secret.Text) Presented { return Presented{Token: token} }

// present checks that a token in force is for this server and comes from whom it
// is bound to. A bound token that comes without its proof was stolen, or might
// have been (RFC 9449 §7.2).
func (o *OIDC) present(ctx context.Context, t *accessToken, p Presented) error {
	switch {
	case !slices.Contains(t.audience, o.issuer):
		return refuse(InvalidToken, "the access token is for another resource")
	case t.key == "" && !p.Bound:
		return nil
	case t.key == "" || !p.Bound:
		return refuse(InvalidToken, "the access token is bound to a key, or not, other than its scheme says")
	}
	a, err := o.Application(ctx, t.clientID)
	if err != nil {
		return err
	}
	key, err := o.ProveKey(ctx, a, p.Possession, p.Token)
	if err == nil && key != t.key {
		err = refuse(InvalidDPoPProof, "the DPoP proof is not accepted: the access token is bound to another key")
	}
	if f := fault.As(err); err != nil && f.Kind == fault.Invalid { // at a resource it is a matter of who calls
		err = fault.New(fault.Unauthenticated, "%s", f.Detail).WithCode(f.Code)
	}
	return err
}
