package authn

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // hashes of others are made with it; they are replaced when they have been compared once
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// What a hash from elsewhere may ask for at most: a second or so, and the memory
// of a few of ours.
const (
	maxBcryptCost   = 14
	maxPBKDF2Rounds = 2_000_000
	maxImportMemory = 128 << 20 // bytes
	maxScryptLanes  = 4
)

// judge tells whether a password has a hash.
type judge func(password string) bool

// parseHash reads a hash in one of the usual forms:
//
//	$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH  PHC string
//	$2b$12$…                                  bcrypt, also $2a$ and $2y$
//	$pbkdf2-sha256$29000$SALT$HASH            passlib, also $pbkdf2$ (SHA-1) and $pbkdf2-sha512$
//	pbkdf2_sha256$870000$SALT$HASH            Django, also pbkdf2_sha1
//	$scrypt$ln=16,r=8,p=1$SALT$HASH           passlib
//
// Its errors hold nothing of the hash.
func parseHash(s string) (judge, error) {
	parts := strings.Split(s, "$")
	switch {
	case strings.HasPrefix(s, "$argon2id$"):
		p, err := parsePHC(s)
		return func(password string) bool { return p.matches(password) }, err
	case len(parts) == 4 && (parts[1] == "2a" || parts[1] == "2b" || parts[1] == "2y"):
		return parseBcrypt(s)
	case len(parts) == 5 && parts[0] == "" && strings.HasPrefix(parts[1], "pbkdf2"):
		return parsePBKDF2(strings.TrimPrefix(strings.TrimPrefix(parts[1], "pbkdf2"), "-"), parts[2], decodeAdapted(parts[3]), decodeAdapted(parts[4]))
	case len(parts) == 4 && strings.HasPrefix(parts[0], "pbkdf2_"):
		sum, _ := base64.StdEncoding.DecodeString(parts[3]) // what can't be read has no length
		return parsePBKDF2(strings.TrimPrefix(parts[0], "pbkdf2_"), parts[1], []byte(parts[2]), sum)
	case len(parts) == 5 && parts[1] == "scrypt":
		return parseScrypt(parts[2], decodeAdapted(parts[3]), decodeAdapted(parts[4]))
	}
	return nil, fmt.Errorf("password hash: want argon2id, bcrypt, PBKDF2 or scrypt in its usual form")
}

func parseBcrypt(s string) (judge, error) {
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || cost > maxBcryptCost || len(s) != 60 {
		return nil, fmt.Errorf("password hash: not a bcrypt hash of a cost up to %d", maxBcryptCost)
	}
	return func(password string) bool { return bcrypt.CompareHashAndPassword([]byte(s), []byte(password)) == nil }, nil
}

func parsePBKDF2(digest, rounds string, salt, sum []byte) (judge, error) {
	made := map[string]func() hash.Hash{"": sha1.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}[digest]
	n, err := strconv.Atoi(rounds)
	if made == nil || err != nil || n < 1 || n > maxPBKDF2Rounds || !sensible(salt, sum) {
		return nil, fmt.Errorf("password hash: not a PBKDF2 hash by SHA-1, SHA-256 or SHA-512 of up to %d rounds", maxPBKDF2Rounds)
	}
	return func(password string) bool {
		got, err := pbkdf2.Key(made, password, salt, n, len(sum))
		return err == nil && subtle.ConstantTimeCompare(got, sum) == 1
	}, nil
}

func parseScrypt(parameters string, salt, sum []byte) (judge, error) {
	var ln, r, p int
	_, err := fmt.Sscanf(parameters, "ln=%d,r=%d,p=%d", &ln, &r, &p)
	if err != nil || ln < 1 || ln > 20 || r < 1 || r > 64 || p < 1 || p > maxScryptLanes || 128*r<<ln > maxImportMemory || !sensible(salt, sum) {
		return nil, fmt.Errorf("password hash: not a scrypt hash of up to %d MiB", maxImportMemory>>20)
	}
	return func(password string) bool {
		got, err := scrypt.Key([]byte(password), salt, 1<<ln, r, p, len(sum))
		return err == nil && subtle.ConstantTimeCompare(got, sum) == 1
	}, nil
}

// decodeAdapted reads base64 without padding, in which passlib has a dot for the
// plus. What can't be read has no length.
func decodeAdapted(s string) []byte {
	decoded, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(s, ".", "+"))
	if err != nil {
		return nil
	}
	return decoded
}

func sensible(salt, sum []byte) bool {
	return len(salt) >= 4 && len(salt) <= 128 && len(sum) >= 16 && len(sum) <= 64
}

// ImportPassword gives somebody who has no password the one that a hash from
// elsewhere is of; parseHash has the forms. It is replaced by one of ours at the
// first sign-in. Who has a password keeps it. It fails with fault.Denied unless
// the operator acts in ctx, and with fault.Invalid and the field password_hash.
func (a *Authn) ImportPassword(ctx context.Context, user id.User, hash string) error {
	if authz.FromContext(ctx).Kind != authz.OperatorPrincipal {
		return fault.New(fault.Denied, "only the operator does this").WithCode("operator")
	}
	if _, err := parseHash(hash); err != nil {
		return fault.Field(fault.Invalid, "password_hash", "%s", err.Error())
	}
	// What this server has hashed itself may take what it is told to.
	if p, err := parsePHC(hash); err == nil && p.memory > maxImportMemory>>10 {
		return fault.Field(fault.Invalid, "password_hash", "password hash: not an argon2id hash of up to %d MiB", maxImportMemory>>20)
	}
	return a.store.InTx(ctx, func(ctx context.Context) error {
		_, err := a.store.PasswordHash(ctx, user)
		if !errors.Is(err, fault.NotFound) {
			return err
		}
		if err := a.store.PutPasswordHash(ctx, user, hash, a.now()); err != nil {
			return err
		}
		if err := a.firstPassword(ctx, user); err != nil {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "password.import", "user", string(user), nil))
	})
}
