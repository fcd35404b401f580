package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
	"github.com/rolecall/rolecall/oidc"
	"github.com/rolecall/rolecall/storage"
)

const issuer = "https://id.example"

// newOIDC returns one on the store, or on none where nothing is read.
func newOIDC(t testing.TB, store *storage.Store) *oidc.OIDC {
	t.Helper()
	keyring, err := secret.NewKeyring(secret.NewMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := authz.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	rights := directory.NewRights(store, directory.NewBlueprints(store, shipped, time.Now))
	a, err := authn.New(authn.Deps{Store: store, Rights: rights, Keyring: keyring, Now: time.Now, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	o, err := oidc.New(oidc.Deps{
		Issuer: issuer, Store: store, Authn: a, Rights: rights,
		Keyring: keyring, Now: time.Now, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestParseScope(t *testing.T) {
	scopes, tenant, err := oidc.ParseScope(" openid  write tenant:berlin openid email ")
	if diff := cmp.Diff([]string{"openid", "tenant:berlin", "email"}, scopes); diff != "" || tenant != "berlin" || err != nil {
		t.Errorf("tenant %q, %v, %s", tenant, err, diff)
	}
	for _, bad := range []string{"openid\temail", `"openid"`, `open\id`, "öpenid", "tenant:", "tenant:a tenant:b"} {
		if _, _, err := oidc.ParseScope(bad); fault.As(err).Code != oidc.InvalidScope {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseScope(f *testing.F) {
	for _, seed := range []string{"openid", "openid email tenant:x", "  ", "tenant:tenant:", "openid\x00", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		scopes, tenant, err := oidc.ParseScope(text)
		if err != nil {
			return
		}
		again, sameTenant, err := oidc.ParseScope(strings.Join(scopes, " "))
		if err != nil || sameTenant != tenant || !slices.Equal(scopes, again) {
			t.Errorf("%q gives %q and then %q, %v", text, scopes, again, err)
		}
	})
}

// machine makes an application that gets a token without a person.
func machine(t testing.TB, store *storage.Store, o *oidc.OIDC) *oidc.Application {
	t.Helper()
	now := time.Now()
	tenant := &directory.Tenant{ID: id.New[id.Tenant](), Slug: "berlin", Name: "Berlin", Blueprint: "default", BlueprintVersion: 1, Status: "enabled", Created: now, Modified: now}
	if err := store.CreateTenant(context.Background(), tenant); err != nil {
		t.Fatal(err)
	}
	source, err := authz.ShippedSource("default")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddBlueprintVersion(context.Background(), directory.BlueprintVersion{Name: "default", Version: 1, Source: source, InForce: true, Created: now}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.PutApplication(context.Background(), oidc.ApplicationSpec{ClientID: "robot", Type: oidc.Machine, Tenant: tenant.ID}); err != nil {
		t.Fatal(err)
	}
	a, err := o.Application(context.Background(), "robot")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func active(t testing.TB, o *oidc.OIDC, a *oidc.Application, token string) bool {
	t.Helper()
	answer, err := o.Introspect(context.Background(), a, secret.NewText(token))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return strings.HasPrefix(string(text), `{"active":true`)
}

func TestForgedTokens(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		o := newOIDC(t, store)
		if err := o.EnsureKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := machine(t, store, o)
		issued, err := o.ClientCredentials(t.Context(), a, "", oidc.Terms{})
		if err != nil {
			t.Fatal(err)
		}
		if !active(t, o, a, issued.Access) {
			t.Fatal("the genuine token is not active")
		}
		segments := strings.Split(issued.Access, ".")
		payload, err := base64.RawURLEncoding.DecodeString(segments[1])
		if err != nil {
			t.Fatal(err)
		}
		keys, err := o.PublicKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		public, err := keys.Keys[0].MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ours := keys.Keys[0].KeyID
		encode := base64.RawURLEncoding.EncodeToString
		for name, token := range map[string]string{
			"RFC 8725 §3.1 alg none":               encode([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + segments[1] + ".",
			"RFC 8725 §2.1 HS256 by a public key":  forge(t, jose.HS256, public, payload, ours, nil),
			"another's key under our kid":          forge(t, jose.ES256, stranger, payload, ours, nil),
			"another's key in the header":          forge(t, jose.ES256, stranger, payload, "", map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: stranger.Public()}}),
			"another's key by address":             forge(t, jose.ES256, stranger, payload, ours, map[jose.HeaderKey]any{"jku": "https://evil.example/keys"}),
			"RFC 8725 §3.11 our header, cut short": segments[0] + "." + segments[1] + ".",
			"another payload":                      segments[0] + "." + encode([]byte(strings.Replace(string(payload), "berlin", "rome", 1))) + "." + segments[2],
			"huge":                                 issued.Access + strings.Repeat("A", 20<<10),
			"empty":                                "",
		} {
			t.Run(name, func(t *testing.T) {
				if active(t, o, a, token) {
					t.Error("active")
				}
			})
		}
	})
}

func forge(t *testing.T, alg jose.SignatureAlgorithm, key any, payload []byte, kid string, extra map[jose.HeaderKey]any) string {
	t.Helper()
	options := (&jose.SignerOptions{ExtraHeaders: extra}).WithType("at+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// FuzzAccessToken: whatever is sent as a token, nothing breaks, and nothing but
// the genuine one is active.
func FuzzAccessToken(f *testing.F) {
	store, err := storage.Open(context.Background(), "sqlite:"+f.TempDir()+"/fuzz.db")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(context.Background()); err != nil {
		f.Fatal(err)
	}
	o := newOIDC(f, store)
	if err := o.EnsureKeys(context.Background()); err != nil {
		f.Fatal(err)
	}
	a := machine(f, store, o)
	issued, err := o.ClientCredentials(context.Background(), a, "", oidc.Terms{})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{issued.Access, "", "a.b.c", "..", "rcat_x", "rcrt_x", "eyJhbGciOiJub25lIn0.e30.", `{"payload":"e30","signatures":[]}`, strings.Repeat(".", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if active(t, o, a, token) && token != issued.Access {
			t.Errorf("%q is active", token)
		}
		if _, err := o.Hint(context.Background(), token); err == nil {
			t.Errorf("%q is an ID token", token)
		}
	})
}

// TestSignedTokensAreCheap guards the cost of the token endpoint's most frequent
// answer (measured: about 90 allocations).
func TestSignedTokensAreCheap(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		o := newOIDC(t, store)
		if err := o.EnsureKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := machine(t, store, o)
		got := testing.AllocsPerRun(100, func() {
			if _, err := o.ClientCredentials(t.Context(), a, "", oidc.Terms{}); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%v allocations", got)
		if got > 150 {
			t.Errorf("%v allocations for a signed token", got)
		}
	})
}

func BenchmarkClientCredentials(b *testing.B) {
	store, err := storage.Open(b.Context(), "sqlite:"+b.TempDir()+"/bench.db")
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	o := newOIDC(b, store)
	if err := o.EnsureKeys(b.Context()); err != nil {
		b.Fatal(err)
	}
	a := machine(b, store, o)
	for b.Loop() {
		if _, err := o.ClientCredentials(b.Context(), a, "", oidc.Terms{}); err != nil {
			b.Fatal(err)
		}
	}
}
