package directory

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	Created time.Time
}

// BlueprintStore keeps every version of every role system that was ever in use.
type BlueprintStore interface {
	// BlueprintVersion fails with fault.NotFound.
	BlueprintVersion(ctx context.Context, name string, version int) (*BlueprintVersion, error)
	// BlueprintInForce holds the answer until the transaction of ctx, if any,
	// ends. It fails with fault.NotFound where none of that name is in use.
	BlueprintInForce(ctx context.Context, name string) (*BlueprintVersion, error)
	// BlueprintVersions returns all versions, sources left out, by name and version.
	BlueprintVersions(ctx context.Context) ([]BlueprintVersion, error)
	// AddBlueprintVersion stores a version, in force in place of another of its
	// name if it says so. One that is there stays as it is.
	AddBlueprintVersion(ctx context.Context, v BlueprintVersion) error
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
	b := &Blueprints{store: store, shipped: shipped, now: now, compiled: map[blueprintKey]*authz.Blueprint{}}
	for _, name := range shipped.Names() {
		if blueprint, err := shipped.Blueprint(name); err == nil {
			b.compiled[blueprintKey{name, blueprint.Version()}] = blueprint
		}
	}
	return b
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
		return nil, fault.Field(fault.Invalid, "blueprint", "there is no blueprint %q of version %d", name, version)
	}
	if err != nil {
		return nil, err
	}
	return b.compile(key, stored.Source)
}

func (b *Blueprints) compile(key blueprintKey, source []byte) (*authz.Blueprint, error) {
	fresh, err := authz.Load(source)
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
	_, err := b.store.BlueprintInForce(ctx, name)
	if errors.Is(err, fault.NotFound) {
		blueprint, err := b.shipped.Blueprint(name)
		if err != nil {
			return nil, err
		}
		source, err := authz.ShippedSource(name)
		if err != nil {
			return nil, err
		}
		err = b.store.AddBlueprintVersion(ctx, BlueprintVersion{
			Name: name, Version: blueprint.Version(), Source: source, InForce: true, Created: b.now().UTC(),
		})
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return b.InForce(ctx, name)
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
