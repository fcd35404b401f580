package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// ClientAssertionType is the one client_assertion_type (RFC 7523 §2.2).
const ClientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// MaxAssertionLifetime is how far ahead an assertion may expire: as long its
// identifier has to be remembered.
const MaxAssertionLifetime = 10 * time.Minute

// ClientProof is how a request says which application sends it, by one method.
type ClientProof struct {
	Method    AuthMethod
	ClientID  string      // may be empty with an assertion, which names it too
	Secret    secret.Text // of the methods with a secret
	Assertion string      // of private_key_jwt
	// Audiences are the addresses by which an assertion may name the server, beside
	// its issuer.
	Audiences []string
}

// Authenticate returns the application that proves itself by the method that is
// registered for it, or a public one, which has nothing to prove. It fails with
// invalid_client, in the same way for every reason; only who has signed by the
// application's key is told what is wrong with the assertion.
func (o *OIDC) Authenticate(ctx context.Context, proof ClientProof) (*Application, error) {
	refused := refuse(InvalidClient, "client authentication failed")
	if proof.Method == AuthPrivateKeyJWT {
		named := assertedClient(proof.Assertion)
		if named == "" || proof.ClientID != "" && proof.ClientID != named {
			return nil, refused
		}
		proof.ClientID = named
	}
	a, err := o.Application(ctx, proof.ClientID)
	if errors.Is(err, fault.NotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	if !a.takes(proof.Method) || a.Disabled() {
		return nil, refused
	}
	switch proof.Method {
	case AuthPrivateKeyJWT:
		err = o.checkAssertion(ctx, a, proof)
	case AuthSecretBasic, AuthSecretPost:
		used := a.accepts(o.hashSecret(a.ClientID, proof.Secret), o.now())
		if proof.Secret.Empty() || used == nil {
			return nil, refused
		}
		o.touchSecret(ctx, a, used)
	case AuthNone:
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// assertedClient returns whom an assertion says that it is of, before anything in
// it is believed.
func assertedClient(assertion string) string {
	segments := strings.Split(assertion, ".")
	if len(assertion) > maxToken || len(segments) != 3 {
		return ""
	}
	parsed, err := jose.ParseSignedCompact(assertion, joseAlgs(ClientAlgs()))
	if err != nil {
		return ""
	}
	var claims claimSet
	if json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &claims) != nil {
		return ""
	}
	subject, _ := claims.text("sub")
	return subject
}

// checkAssertion holds an assertion to RFC 7523 §3.
func (o *OIDC) checkAssertion(ctx context.Context, a *Application, proof ClientProof) error {
	claims, err := o.signedBy(ctx, a, proof.Assertion, a.assertionAlgs(), []string{"", "jwt", "client-authentication+jwt"})
	if err != nil {
		return err
	}
	rules := assertionRules{clientID: a.ClientID, now: o.now(), audiences: append([]string{o.issuer}, proof.Audiences...)}
	if a.fapi2() {
		rules.audiences, rules.exact = rules.audiences[:1], true
	}
	id, expires, problem := readAssertion(claims, rules)
	if problem == "" {
		var first bool
		if first, err = o.once(ctx, "assertion", a.ClientID, id, expires); err != nil {
			return err
		}
		if !first {
			problem = "its jti was used before"
		}
	}
	if problem != "" {
		return refuse(InvalidClient, "the client_assertion is not accepted: %s", problem)
	}
	return nil
}

// signedBy returns the claims of a token that the application signed with one of
// its keys, by one of the algorithms and under one of the types, in small
// letters. It fails with invalid_client.
func (o *OIDC) signedBy(ctx context.Context, a *Application, token string, algs []Alg, types []string) (claimSet, error) {
	refused := refuse(InvalidClient, "client authentication failed")
	if len(token) > maxToken {
		return nil, refused
	}
	parsed, err := jose.ParseSignedCompact(token, joseAlgs(algs))
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, refused
	}
	header := parsed.Signatures[0].Protected
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !slices.Contains(types, strings.ToLower(typ)) {
		return nil, refused
	}
	for _, key := range o.keysOf(ctx, a, header.KeyID, Alg(header.Algorithm)) {
		payload, err := parsed.Verify(key.Key)
		if err != nil {
			continue
		}
		var claims claimSet
		if json.Unmarshal(payload, &claims) != nil {
			return nil, refused
		}
		return claims, nil
	}
	return nil, refused
}

// assertionRules are what an assertion is held to.
type assertionRules struct {
	clientID  string
	audiences []string
	exact     bool // aud is one of them as a string, not in an array
	now       time.Time
}

// readAssertion returns what identifies an assertion and until when it would be
// accepted, or what is wrong with it (RFC 7523 §3).
func readAssertion(claims claimSet, rules assertionRules) (id string, expires time.Time, problem string) {
	issuer, _ := claims.text("iss")
	subject, _ := claims.text("sub")
	if issuer != rules.clientID || subject != rules.clientID {
		return "", time.Time{}, "iss and sub must be the client_id"
	}
	audience, array := claims.list("aud")
	switch {
	case array && rules.exact:
		return "", time.Time{}, "aud must be a string, the issuer " + rules.audiences[0]
	case !slices.ContainsFunc(audience, func(aud string) bool { return slices.Contains(rules.audiences, aud) }):
		return "", time.Time{}, "aud must be " + strings.Join(rules.audiences, " or ")
	}
	valid, problem := claims.validity(rules.now, MaxAssertionLifetime)
	if problem != "" {
		return "", time.Time{}, problem
	}
	id, ok := claims.text("jti")
	if !ok || id == "" || len(id) > maxIdentifier {
		return "", time.Time{}, "jti must be a text that is used once"
	}
	return id, valid.expires, ""
}

// maxIdentifier bounds a jti, in bytes.
const maxIdentifier = 512

// once reports whether a thing of a kind is used for the first time, by its owner's
// name for it. It is remembered a little longer than it is good, for a node whose
// clock is behind.
func (o *OIDC) once(ctx context.Context, kind, owner, name string, expires time.Time) (bool, error) {
	thing := secret.Hash(sha256.Sum256([]byte(kind + "\x00" + owner + "\x00" + name)))
	return o.store.UseOnce(ctx, thing, expires.Add(time.Minute))
}
