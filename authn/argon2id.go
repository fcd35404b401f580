package authn

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/secret"
)

// Hashing is the cost of a password hash (argon2id, RFC 9106) and how many are
// computed at once. A zero field takes the default that stands beside it, OWASP's
// recommendation.
type Hashing struct {
	Memory   uint32 // KiB: 19456
	Passes   uint32 // 2
	Lanes    uint8  // 1
	Parallel int    // computed at once: one per processor
	Queue    int    // waiting for their turn; more are turned away: 256
}

// The sizes of what goes into and comes out of argon2id, in bytes.
const (
	saltSize = 16
	hashSize = 32
)

// What a stored hash may ask for at most, so that a hash which came from
// elsewhere can't stop the server.
const (
	maxMemory = 1 << 20 // KiB
	maxPasses = 64
)

// queueFullRetry is when to try again after being turned away from the queue.
const queueFullRetry = 2 * time.Second

func (h Hashing) withDefaults() Hashing {
	h.Memory = orDefault(h.Memory, 19*1024)
	h.Passes = orDefault(h.Passes, 2)
	h.Lanes = orDefault(h.Lanes, 1)
	h.Parallel = orDefault(h.Parallel, runtime.GOMAXPROCS(0))
	h.Queue = orDefault(h.Queue, 256)
	return h
}

// hasher computes password hashes, a few at a time: each takes Memory, and a
// flood of sign-ins must not take the machine's.
type hasher struct {
	cost  Hashing
	queue chan struct{} // held from asking to done
	turn  chan struct{} // held while computing
	dummy string        // of no password: comparing with it costs the same and always fails
}

func newHasher(cost Hashing) (*hasher, error) {
	if cost.Parallel < 1 || cost.Queue < 0 || cost.Memory > maxMemory || cost.Passes > maxPasses {
		return nil, fmt.Errorf("password hashing: parameters out of range: %+v", cost)
	}
	h := &hasher{
		cost:  cost,
		queue: make(chan struct{}, cost.Parallel+cost.Queue),
		turn:  make(chan struct{}, cost.Parallel),
	}
	// Random bytes, not a computed hash: comparing is what has to cost the same,
	// and an idle server need not have touched the memory of a hash.
	dummy := phc{memory: cost.Memory, passes: cost.Passes, lanes: cost.Lanes, salt: make([]byte, saltSize), sum: make([]byte, hashSize)}
	_, _ = rand.Read(dummy.salt) // never fails
	_, _ = rand.Read(dummy.sum)  // never fails
	h.dummy = dummy.String()
	return h, nil
}

// hash returns the PHC string of a password with a fresh salt. It fails with
// fault.Overloaded where too many wait already.
func (h *hasher) hash(ctx context.Context, password secret.Text) (string, error) {
	p := phc{memory: h.cost.Memory, passes: h.cost.Passes, lanes: h.cost.Lanes, salt: make([]byte, saltSize)}
	_, _ = rand.Read(p.salt) // never fails
	err := h.inTurn(ctx, func() { p.sum = p.derive(password.Reveal(), hashSize) })
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

// verify reports whether the password has that hash. It fails with
// fault.Overloaded where too many wait already.
func (h *hasher) verify(ctx context.Context, password secret.Text, hash string) (bool, error) {
	matches, err := parseHash(hash)
	if err != nil {
		return false, err
	}
	var right bool
	err = h.inTurn(ctx, func() { right = matches(password.Reveal()) })
	return right, err
}

// current reports whether a hash was made with today's parameters.
func (h *hasher) current(hash string) bool {
	p, err := parsePHC(hash)
	return err == nil && p.memory == h.cost.Memory && p.passes == h.cost.Passes && p.lanes == h.cost.Lanes &&
		len(p.salt) == saltSize && len(p.sum) == hashSize
}

func (h *hasher) inTurn(ctx context.Context, compute func()) error {
	select {
	case h.queue <- struct{}{}:
		defer func() { <-h.queue }()
	default:
		return &fault.Error{
			Kind: fault.Overloaded, Code: "busy", RetryAfter: queueFullRetry,
			Detail: "too many sign-ins at once; try again in a moment",
		}
	}
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	compute()
	return nil
}

// phc is an argon2id hash in the PHC string format,
// $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH, with base64 without padding.
type phc struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

func (p phc) derive(password string, size uint32) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.lanes, size)
}

func (p phc) matches(password string) bool {
	return subtle.ConstantTimeCompare(p.derive(password, uint32(len(p.sum))), p.sum) == 1 //nolint:gosec // parsePHC bounds the length
}

// String returns the PHC string.
func (p phc) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.memory, p.passes, p.lanes, enc.EncodeToString(p.salt), enc.EncodeToString(p.sum))
}

// parsePHC is the inverse of String. Its errors hold nothing of the hash.
func parsePHC(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, fmt.Errorf("password hash: not an argon2id PHC string of version %d", argon2.Version)
	}
	cost := strings.Split(parts[3], ",")
	if len(cost) != 3 {
		return phc{}, fmt.Errorf("password hash: want the parameters m, t and p")
	}
	memory, errM := parsePHCParameter(cost[0], "m", maxMemory)
	passes, errT := parsePHCParameter(cost[1], "t", maxPasses)
	lanes, errP := parsePHCParameter(cost[2], "p", 255)
	for _, err := range []error{errM, errT, errP} {
		if err != nil {
			return phc{}, err
		}
	}
	enc := base64.RawStdEncoding.Strict()
	salt, errSalt := enc.DecodeString(parts[4])
	sum, errSum := enc.DecodeString(parts[5])
	if errSalt != nil || errSum != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return phc{}, fmt.Errorf("password hash: salt or hash is not base64 of a sensible length")
	}
	return phc{memory: memory, passes: passes, lanes: uint8(lanes), salt: salt, sum: sum}, nil //nolint:gosec // at most 255
}

func parsePHCParameter(s, name string, most uint64) (uint32, error) {
	digits, ok := strings.CutPrefix(s, name+"=")
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n < 1 || n > most || strconv.FormatUint(n, 10) != digits {
		return 0, fmt.Errorf("password hash: parameter %s is not a number from 1 to %d", name, most)
	}
	return uint32(n), nil
}
