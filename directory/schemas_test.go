package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/authz"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/schema"
)

const badgeURN = "urn:example:schemas:extension:2.0:Badge"

// badge is an extension of people with the attribute number and others.
func badge(t *testing.T, others string) []*schema.Schema {
	t.Helper()
	s, err := directory.ParseSchema([]byte(`{"id":"` + badgeURN + `","attributes":[{"name":"number","uniqueness":"server"}` + others + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return []*schema.Schema{s}
}

func ofPeople() []schema.Definition {
	return []schema.Definition{{Name: "User", Extensions: []schema.ExtensionDefinition{{Schema: badgeURN}}}}
}

// wearing is a person with the extension.
func wearing(address string, badge map[string]any) map[string]any {
	doc := person(address)
	doc[badgeURN] = badge
	return doc
}

// anotherNode is a directory on the same database, with a clock of its own.
func anotherNode(t *testing.T, w *world) (*directory.Directory, *atomic.Int64) {
	t.Helper()
	shipped, err := authz.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := schema.Core()
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(1_800_000_000+clock.Load(), 0).UTC() }
	d, err := directory.New(directory.Deps{
		Store: w.store, Holdings: w.ended, Passwords: w.authn, Schemas: schemas, Now: now,
		Rights: directory.NewRights(w.store, directory.NewBlueprints(w.store, shipped, now)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, &clock
}

func TestAnotherNodeLearnsOfSchemas(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		acme := w.tenant("acme", "acme.example")
		node, clock := anotherNode(t, w)
		knows := func(d *directory.Directory, attribute string) bool {
			t.Helper()
			registry, err := d.Schemas(ctx, acme)
			if err != nil {
				t.Fatal(err)
			}
			user, _ := registry.ResourceType("User")
			_, err = user.ResolveText(badgeURN + ":" + attribute)
			return err == nil
		}
		if err := w.PutSchemas(ctx, acme, badge(t, ""), ofPeople()); err != nil {
			t.Fatal(err)
		}
		m, err := node.CreateMembership(ctx, acme, person("ann@acme.example"))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.PutSchemas(ctx, acme, badge(t, `,{"name":"late"}`), nil); err != nil {
			t.Fatal(err)
		}
		if here, there := knows(w.Directory, "late"), knows(node, "late"); !here || there {
			t.Errorf("the node that changed it knows the attribute: %v, want true; the other, at the same moment: %v, want false", here, there)
		}
		clock.Add(2)
		if !knows(node, "late") {
			t.Error("after two seconds the other node does not know the attribute")
		}
		// A write by the old schemas is not carried out.
		if err := w.PutSchemas(ctx, acme, badge(t, ""), nil); err != nil {
			t.Fatal(err)
		}
		rename := func(doc map[string]any) (map[string]any, error) {
			doc["nickName"] = "A"
			return doc, nil
		}
		if _, err = node.ChangeMembership(ctx, acme, m.ID, 0, rename); !errors.Is(err, fault.Throttled) {
			t.Errorf("a change by the schemas of before: %v, want %v", err, fault.Throttled)
		}
		if _, err = node.ChangeMembership(ctx, acme, m.ID, 0, rename); err != nil {
			t.Errorf("once more: %v", err)
		}
	})
}

// Two nodes that make something unique at the same time agree on one.
func TestUniquenessHoldsAcrossNodes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		acme := w.tenant("acme", "acme.example")
		if err := w.PutSchemas(ctx, acme, badge(t, ""), ofPeople()); err != nil {
			t.Fatal(err)
		}
		node, _ := anotherNode(t, w)
		results := make(chan error)
		for i, d := range []*directory.Directory{w.Directory, node} {
			go func() {
				_, err := d.CreateMembership(ctx, acme, wearing(fmt.Sprintf("p%d@acme.example", i), map[string]any{"number": "N1"}))
				results <- err
			}()
		}
		first, second := <-results, <-results
		if refused := errors.Join(first, second); !errors.Is(refused, fault.Conflict) || first != nil && second != nil {
			t.Errorf("got %v and %v, want one of them %v", first, second, fault.Conflict)
		}
	})
}

func TestFollowersAreNotToldWhatIsNeverReturned(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := operator(t)
		acme := w.tenant("acme", "acme.example")
		w.heard.tenant = acme
		if err := w.PutSchemas(ctx, acme, badge(t, `,{"name":"pin","mutability":"writeOnly","returned":"never"}`), ofPeople()); err != nil {
			t.Fatal(err)
		}
		var told []*directory.ResourceChange
		observed := directory.WithObserver(ctx, func(c *directory.ResourceChange) { told = append(told, c) })
		m, err := w.CreateMembership(observed, acme, wearing("ann@acme.example", map[string]any{"number": "N1", "pin": "1234"}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.ChangeMembership(observed, acme, m.ID, 0, func(doc map[string]any) (map[string]any, error) {
			doc[badgeURN] = map[string]any{"number": "N1", "pin": "5678"}
			return doc, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(told) != 1 || !slices.Contains(told[0].Attributes, badgeURN) {
			t.Fatalf("told of %d changes, want the creation only", len(told))
		}
		if ext, _ := told[0].After[badgeURN].(map[string]any); ext["number"] != "N1" || ext["pin"] != nil {
			t.Errorf("told %v", told[0].After)
		}
		stored, err := w.Membership(ctx, acme, m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if ext, _ := stored.Profile[badgeURN].(map[string]any); ext["pin"] != "5678" {
			t.Errorf("stored %v", stored.Profile)
		}
	})
}
