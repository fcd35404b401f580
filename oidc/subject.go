package oidc

import (
	"context"
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// SubjectType says by which identifier an application knows people (OIDC Core §8).
type SubjectType string

// The types of subjects.
const (
	SubjectPublic   SubjectType = "public"   // the user's own, the same for all applications
	SubjectPairwise SubjectType = "pairwise" // another one for each sector
)

// SubjectStore keeps what pairwise subjects are made from.
type SubjectStore interface {
	// SubjectSalt returns the salt, sealed, or fails with fault.NotFound.
	SubjectSalt(ctx context.Context) ([]byte, error)
	// CreateSubjectSalt stores it unless there is one.
	CreateSubjectSalt(ctx context.Context, sealed []byte) error
}

// subjectSalt is the instance's salt, once it was read.
type subjectSalt struct {
	mu    sync.Mutex
	value []byte
}

// placeOfSalt is where the salt is sealed for.
const placeOfSalt = "subject salt"

// salt returns the salt of all pairwise subjects, and makes it at the first need. It
// never changes: with it all subjects would.
func (o *OIDC) salt(ctx context.Context) ([]byte, error) {
	o.subjectSalt.mu.Lock()
	defer o.subjectSalt.mu.Unlock()
	if o.subjectSalt.value != nil {
		return o.subjectSalt.value, nil
	}
	sealed, err := o.store.SubjectSalt(ctx)
	if errors.Is(err, fault.NotFound) {
		fresh := make([]byte, sha256.Size)
		_, _ = rand.Read(fresh) // never fails
		if sealed, err = o.keyring.Seal(fresh, placeOfSalt); err != nil {
			return nil, err
		}
		if err = o.store.CreateSubjectSalt(ctx, sealed); err == nil {
			sealed, err = o.store.SubjectSalt(ctx) // which may be another node's
		}
	}
	if err != nil {
		return nil, err
	}
	value, err := o.keyring.Open(sealed, placeOfSalt)
	if err != nil {
		return nil, fmt.Errorf("open the salt of pairwise subjects: %w", err)
	}
	o.subjectSalt.value = value
	return value, nil
}

// subjectKey returns the key of a sector's subjects: an HMAC-SHA256 of its name under
// the salt.
func (o *OIDC) subjectKey(ctx context.Context, sector string) ([]byte, error) {
	salt, err := o.salt(ctx)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte("sector\x00" + sector))
	return mac.Sum(nil), nil
}

// Subject returns the claim sub of the user for the application (OIDC Core §8.1). A
// pairwise one is the user's identifier, which is one block, under AES-256 with the
// key of the sector: to the sector as good as random, and to this server the
// identifier again, without a table of them.
func (o *OIDC) Subject(ctx context.Context, a *Application, user id.User) (string, error) {
	if a.Sector == "" {
		return string(user), nil
	}
	key, err := o.subjectKey(ctx, a.Sector)
	if err != nil {
		return "", err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", fmt.Errorf("make a pairwise subject: %w", err)
	}
	plain, err := id.Bytes(user)
	if err != nil {
		return "", fmt.Errorf("make a pairwise subject: %w", err)
	}
	var subject [aes.BlockSize]byte
	block.Encrypt(subject[:], plain[:])
	return base64.RawURLEncoding.EncodeToString(subject[:]), nil
}

// subjectOf is Subject for an application by its client_id.
func (o *OIDC) subjectOf(ctx context.Context, clientID string, user id.User) (string, error) {
	a, err := o.Application(ctx, clientID)
	if err != nil {
		return "", err
	}
	return o.Subject(ctx, a, user)
}

// UserOf is the inverse of Subject. What is no subject of the application's sector is
// nobody's identifier.
func (o *OIDC) UserOf(ctx context.Context, a *Application, subject string) (id.User, error) {
	if a.Sector == "" {
		return id.User(subject), nil
	}
	const nobody id.User = "nobody"
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(subject)
	if err != nil || len(sealed) != aes.BlockSize {
		return nobody, nil //nolint:nilerr // it is what is asked
	}
	key, err := o.subjectKey(ctx, a.Sector)
	if err != nil {
		return "", err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", fmt.Errorf("read a pairwise subject: %w", err)
	}
	var user [aes.BlockSize]byte
	block.Decrypt(user[:], sealed)
	return id.FromBytes[id.User](user), nil
}

// sector returns for whom the application's subjects are, "" for everybody: what is
// declared, or the host of its redirect URIs (OIDC Core §8.1).
func (s ApplicationSpec) sector() (string, error) {
	switch {
	case s.SubjectType == "" || s.SubjectType == SubjectPublic:
		if s.Sector != "" {
			return "", fault.Field(fault.Invalid, "sector", "a sector belongs to the subject_type pairwise")
		}
		return "", nil
	case s.SubjectType != SubjectPairwise:
		return "", fault.Field(fault.Invalid, "subject_type", "%q is not one of public, pairwise", s.SubjectType)
	case s.Type == Machine:
		return "", fault.Field(fault.Invalid, "subject_type", "an application of type machine signs nobody in: its subject is its client_id")
	case s.Sector != "":
		if u, err := url.Parse("https://" + s.Sector); err != nil || u.Host != s.Sector || u.Hostname() == "" || s.Sector != strings.ToLower(s.Sector) || len(s.Sector) > maxURI {
			return "", fault.Field(fault.Invalid, "sector", "%q must be a host, as in shop.example, in small letters", s.Sector)
		}
		return s.Sector, nil
	}
	sector := ""
	for _, uri := range s.RedirectURIs {
		u, err := url.Parse(uri)
		if err != nil || u.Hostname() == "" || sector != "" && sector != strings.ToLower(u.Hostname()) {
			return "", errSector()
		}
		sector = strings.ToLower(u.Hostname())
	}
	if sector == "" {
		return "", errSector()
	}
	return sector, nil
}

func errSector() error {
	return fault.Field(fault.Invalid, "sector", "the subject_type pairwise needs a sector where the redirect URIs do not all have one host (OIDC Core §8.1)")
}
