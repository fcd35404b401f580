package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/secret"
)

func TestTextIsNeverShown(t *testing.T) {
	s := secret.NewText("hunter2")
	holder := struct{ S secret.Text }{s}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "holder", holder)
	_, err := json.Marshal(holder)
	shown := []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", holder, holder, holder), log.String(), fmt.Sprint(err)}
	for _, text := range shown {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the secret is shown: %s", text)
		}
	}
	if err == nil {
		t.Error("a secret was marshaled to JSON")
	}
	if s.Reveal() != "hunter2" {
		t.Errorf("Reveal() = %q", s.Reveal())
	}
}

func TestRandomHas256BitsAfterItsPrefix(t *testing.T) {
	a, b := secret.Random("rc_"), secret.Random("rc_")
	if len(a.Reveal()) != 3+43 || !strings.HasPrefix(a.Reveal(), "rc_") {
		t.Errorf("Random = %d characters, want the prefix and 43", len(a.Reveal()))
	}
	if a.Equal(b) || a.Hash().Equal(b.Hash()) {
		t.Error("two random tokens are equal")
	}
	if !a.Hash().Equal(secret.NewText(a.Reveal()).Hash()) {
		t.Error("the hash is not a function of the token")
	}
}

func TestSealOpensOnlyAtItsPlaceAndUnaltered(t *testing.T) {
	ring := newRing(t)
	sealed, err := ring.Seal([]byte("private"), "signing_keys/private_key/1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ring.Open(sealed, "signing_keys/private_key/1")
	if err != nil || string(got) != "private" {
		t.Fatalf("Open = %q, %v", got, err)
	}
	if _, err := ring.Open(sealed, "signing_keys/private_key/2"); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("opened at another place: %v", err)
	}
	if _, err := newRing(t).Open(sealed, "signing_keys/private_key/1"); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("opened by another master key: %v", err)
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if _, err := ring.Open(altered, "signing_keys/private_key/1"); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("opened with byte %d altered: %v", i, err)
		}
		if _, err := ring.Open(sealed[:i], "signing_keys/private_key/1"); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("opened when cut to %d bytes: %v", i, err)
		}
	}
}

func TestDeriveSeparatesPurposes(t *testing.T) {
	ring := newRing(t)
	if ring.Derive("a") == ring.Derive("b") {
		t.Error("two purposes share a key")
	}
	if first, second := ring.Derive("a"), ring.Derive("a"); first != second {
		t.Error("a purpose has no stable key")
	}
}

func TestParseMasterKey(t *testing.T) {
	for _, good := range []string{
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"__________________________________________8",
	} {
		if key, err := secret.ParseMasterKey(good); err != nil || len(key) != 32 {
			t.Errorf("ParseMasterKey(%q) = %d bytes, %v", good, len(key), err)
		}
	}
	for _, bad := range []string{"", "short", "AAAA"} {
		if _, err := secret.ParseMasterKey(bad); err == nil {
			t.Errorf("ParseMasterKey(%q) succeeded", bad)
		}
	}
}

func newRing(t *testing.T) *secret.Keyring {
	t.Helper()
	ring, err := secret.NewKeyring(secret.NewMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
