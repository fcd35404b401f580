package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

const (
	sealVersion = 1
	keyIDSize   = 4
	keySize     = 32
	nonceSize   = 12
	tagSize     = 16
	wrappedSize = nonceSize + keySize + tagSize
	headerSize  = 1 + keyIDSize
)

// ErrSealed says that a sealed value can't be opened: it was altered, stands in
// another place than it was sealed for, or belongs to another master key.
var ErrSealed = errors.New("sealed value can't be opened with this master key at this place")

// Keyring seals what has to be readable again, with the instance's master key.
//
// Each value gets a data key of its own, which is wrapped by a key derived from
// the master key (envelope), so that a new master key re-wraps 60 bytes a value.
// The layout is version (1 byte), id of the master key (4), nonce and wrapped
// data key (60), nonce (12), ciphertext; AES-256-GCM throughout, with the place
// of the value as associated data. It is safe for concurrent use.
type Keyring struct {
	master []byte
	id     [keyIDSize]byte
	wrap   cipher.AEAD
}

// NewKeyring returns a Keyring for a master key of 32 bytes.
func NewKeyring(master []byte) (*Keyring, error) {
	if len(master) != keySize {
		return nil, fmt.Errorf("the master key has %d bytes, want %d", len(master), keySize)
	}
	k := &Keyring{master: append([]byte(nil), master...)}
	copy(k.id[:], k.derive("key id"))
	wrap, err := newGCM(k.derive("wrap data keys"))
	if err != nil {
		return nil, err
	}
	k.wrap = wrap
	return k, nil
}

// ParseMasterKey reads a master key in base64 (standard or URL alphabet, with
// or without padding).
func ParseMasterKey(text string) ([]byte, error) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := enc.DecodeString(text); err == nil && len(key) == keySize {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the master key must be %d bytes in base64", keySize)
}

// NewMasterKey returns a fresh master key.
func NewMasterKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// ID names the master key without telling anything about it.
func (k *Keyring) ID() string { return hex.EncodeToString(k.id[:]) }

// Derive returns 32 bytes for a purpose that must not share a key with any other.
func (k *Keyring) Derive(purpose string) [keySize]byte {
	return [keySize]byte(k.derive(purpose))
}

func (k *Keyring) derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, k.master, nil, "rolecall "+purpose, keySize)
	if err != nil { // only for lengths beyond 255 hashes
		panic(err) //nolint:forbidigo // unreachable: keySize is constant
	}
	return key
}

// Seal encrypts plain for one place, "table/column/row", where alone it can be
// opened again.
func (k *Keyring) Seal(plain []byte, place string) ([]byte, error) {
	dataKey := make([]byte, keySize)
	_, _ = rand.Read(dataKey) // never fails
	data, err := newGCM(dataKey)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, headerSize+wrappedSize+nonceSize+len(plain)+tagSize)
	out = append(out, sealVersion)
	out = append(out, k.id[:]...)
	out = appendSealed(out, k.wrap, dataKey, place)
	return appendSealed(out, data, plain, place), nil
}

// Open is the inverse of Seal. It fails with ErrSealed.
func (k *Keyring) Open(sealed []byte, place string) ([]byte, error) {
	if len(sealed) < headerSize+wrappedSize+nonceSize+tagSize || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	if [keyIDSize]byte(sealed[1:headerSize]) != k.id {
		return nil, fmt.Errorf("%w: it was sealed by master key %x, this is %s", ErrSealed, sealed[1:headerSize], k.ID())
	}
	body := sealed[headerSize:]
	dataKey, err := openSealed(k.wrap, body[:wrappedSize], place)
	if err != nil {
		return nil, err
	}
	data, err := newGCM(dataKey)
	if err != nil {
		return nil, err
	}
	return openSealed(data, body[wrappedSize:], place)
}

func appendSealed(out []byte, aead cipher.AEAD, plain []byte, place string) []byte {
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(append(out, nonce...), nonce, plain, []byte(place))
}

func openSealed(aead cipher.AEAD, box []byte, place string) ([]byte, error) {
	plain, err := aead.Open(nil, box[:nonceSize], box[nonceSize:], []byte(place))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
