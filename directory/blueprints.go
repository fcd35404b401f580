package directory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/internal/fault"
)

// A BlueprintVersion is one version of a role system as the database keeps it.
type BlueprintVersion struct {
	Name    string
	Version int
	Source  []byte // YAML
	InForce bool   // new tenants begin on it; one version of each name is
	Tenants int    // that are on it; only BlueprintVersions says so
	Created time.Time
}

// BlueprintStore keeps every version of every role system that was ever in use,
// and moves tenants from one to the next.
type BlueprintStore interface {
	// BlueprintVersion fails with fault.NotFound.
	BlueprintVersion(ctx context.Context, name string, version int) (*BlueprintVersion, error)
	// BlueprintInForce holds the answer until the transaction of ctx, if any,
	// ends. It fails with fault.NotFound where none of that name is in use.
	BlueprintInForce(ctx context.Context, name string) (*BlueprintVersion, error)
	// BlueprintVersions returns all versions, sources left out, by name and version.
	BlueprintVersions(ctx context.Context) ([]BlueprintVersion, error)
	// UnstoredBlueprints returns the names of the role systems of which a version
	// has tenants but is not stored.
	UnstoredBlueprints(ctx context.Context) ([]string, error)
	// AddBlueprintVersion stores a version. One that is there stays as it is, and
	// so does another of its name that is in force: the answer is false then.
	AddBlueprintVersion(ctx context.Context, v BlueprintVersion) (added bool, err error)
	// ReplaceBlueprintVersion stores a version, in force in place of the one
	// that is.
	ReplaceBlueprintVersion(ctx context.Context, v BlueprintVersion) error
	// LockBlueprint holds off whoever would begin on a version of that name, or
	// replace one, until the transaction ends.
	LockBlueprint(ctx context.Context, name string) error

	UpgradeStore
}

// Blueprints compiles the role systems of an instance, each version once: a
// TenantView or Holder counts only in the Blueprint that made it. It is safe for
// concurrent use.
type Blueprints struct {
	store   BlueprintStore
	shipped *authz.Catalog
	now     func() time.Time

	mu       sync.RWMutex
	compiled map[blueprintKey]*authz.Blueprint
}

type blueprintKey struct {
	name    string
	version int
}

// NewBlueprints returns a Blueprints. The shipped ones are known without being
// stored; one is stored when the first tenant begins on it, because the next
// release may ship another version.
func NewBlueprints(store BlueprintStore, shipped *authz.Catalog, now func() time.Time) *Blueprints {
	return &Blueprints{store: store, shipped: shipped, now: now, compiled: map[blueprintKey]*authz.Blueprint{}}
}

// Version returns a version of a role system, from memory where it was asked
// for before. It fails with fault.Invalid on blueprint.
func (b *Blueprints) Version(ctx context.Context, name string, version int) (*authz.Blueprint, error) {
	key := blueprintKey{name, version}
	b.mu.RLock()
	compiled, known := b.compiled[key]
	b.mu.RUnlock()
	if known {
		return compiled, nil
	}
	stored, err := b.store.BlueprintVersion(ctx, name, version)
	if errors.Is(err, fault.NotFound) {
		// Not kept in memory: somebody may store another of the same number.
		if blueprint, err := b.shipped.Blueprint(name); err == nil && blueprint.Version() == version {
			return blueprint, nil
		}
		return nil, fault.Field(fault.Invalid, "blueprint", "there is no blueprint %q of version %d", name, version)
	}
	if err != nil {
		return nil, err
	}
	return b.compile(key, stored.Source)
}

func (b *Blueprints) compile(key blueprintKey, source []byte) (*authz.Blueprint, error) {
	fresh, err := b.shippedAs(key, source)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if compiled, known := b.compiled[key]; known {
		return compiled, nil
	}
	b.compiled[key] = fresh
	return fresh, nil
}

// shippedAs returns the shipped blueprint if it has that source, else what is
// compiled from it.
func (b *Blueprints) shippedAs(key blueprintKey, source []byte) (*authz.Blueprint, error) {
	blueprint, err := b.shipped.Blueprint(key.name)
	if err == nil && blueprint.Version() == key.version {
		if text, err := authz.ShippedSource(key.name); err == nil && bytes.Equal(text, source) {
			return blueprint, nil
		}
	}
	return authz.Load(source)
}

// InForce returns the version on which a new tenant begins: the stored one that
// is in force, else the shipped one. In a transaction it stays in force until
// that ends. It fails with fault.Invalid on blueprint.
func (b *Blueprints) InForce(ctx context.Context, name string) (*authz.Blueprint, error) {
	stored, err := b.store.BlueprintInForce(ctx, name)
	switch {
	case errors.Is(err, fault.NotFound):
		return b.shipped.Blueprint(name)
	case err != nil:
		return nil, err
	}
	return b.Version(ctx, name, stored.Version)
}

// begin is InForce that stores a shipped version which is not stored yet.
func (b *Blueprints) begin(ctx context.Context, name string) (*authz.Blueprint, error) {
	if _, err := b.store.BlueprintInForce(ctx, name); errors.Is(err, fault.NotFound) {
		if err := b.storeShipped(ctx, name); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return b.InForce(ctx, name)
}

// KeepUsed stores the shipped role systems that tenants are on since before
// versions were stored: the next release may ship others.
func (b *Blueprints) KeepUsed(ctx context.Context) error {
	names, err := b.store.UnstoredBlueprints(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := b.storeShipped(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// storeShipped stores the shipped version of a name, in force unless another is.
// It fails with fault.Invalid on blueprint where none is shipped.
func (b *Blueprints) storeShipped(ctx context.Context, name string) error {
	blueprint, err := b.shipped.Blueprint(name)
	if err != nil {
		return err
	}
	source, err := authz.ShippedSource(name)
	if err != nil {
		return err
	}
	_, err = b.store.AddBlueprintVersion(ctx, BlueprintVersion{
		Name: name, Version: blueprint.Version(), Source: source, InForce: true, Created: b.now().UTC(),
	})
	return err
}

// A KnownVersion is a version of a role system that an instance can use.
type KnownVersion struct {
	Name    string
	Version int
	Shipped bool // comes with the program
	InForce bool
	Tenants int // that are on it
}

// Versions returns the shipped and the stored versions, by name and version.
func (b *Blueprints) Versions(ctx context.Context) ([]KnownVersion, error) {
	stored, err := b.store.BlueprintVersions(ctx)
	if err != nil {
		return nil, err
	}
	var versions []KnownVersion
	replaced := map[string]bool{} // another version than the shipped one is in force
	for _, v := range stored {
		versions = append(versions, KnownVersion{Name: v.Name, Version: v.Version, InForce: v.InForce, Tenants: v.Tenants})
		replaced[v.Name] = replaced[v.Name] || v.InForce
	}
	for _, name := range b.shipped.Names() {
		blueprint, err := b.shipped.Blueprint(name)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(versions, func(v KnownVersion) bool { return v.Name == name && v.Version == blueprint.Version() })
		if i < 0 {
			versions = append(versions, KnownVersion{Name: name, Version: blueprint.Version(), InForce: !replaced[name]})
			i = len(versions) - 1
		}
		versions[i].Shipped = true
	}
	slices.SortFunc(versions, func(a, b KnownVersion) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Version-b.Version)
	})
	return versions, nil
}

// Source returns the YAML of a version, stored or shipped; of the one in force
// if version is 0. It fails with fault.Invalid on blueprint.
func (b *Blueprints) Source(ctx context.Context, name string, version int) ([]byte, error) {
	var stored *BlueprintVersion
	var err error
	if version == 0 {
		stored, err = b.store.BlueprintInForce(ctx, name)
	} else {
		stored, err = b.store.BlueprintVersion(ctx, name, version)
	}
	if err == nil {
		return stored.Source, nil
	}
	if !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	shipped, err := b.shipped.Blueprint(name)
	if err != nil {
		return nil, err
	}
	if version != 0 && version != shipped.Version() {
		return nil, fault.Field(fault.Invalid, "blueprint", "there is no blueprint %q of version %d", name, version)
	}
	return authz.ShippedSource(name)
}

// Names returns the names of the shipped and the stored role systems, sorted.
func (b *Blueprints) Names(ctx context.Context) ([]string, error) {
	names := map[string]bool{}
	for _, name := range b.shipped.Names() {
		names[name] = true
	}
	stored, err := b.store.BlueprintVersions(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range stored {
		names[v.Name] = true
	}
	return slices.Sorted(maps.Keys(names)), nil
}
