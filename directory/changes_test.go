package directory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
)

// follower writes down what it is told, and may refuse it.
type follower struct {
	tenant id.Tenant
	told   []string
	refuse error
}

func (f *follower) Follows(_ context.Context, tenant id.Tenant) (bool, error) {
	return tenant == f.tenant, nil
}

func (f *follower) ResourceChanged(_ context.Context, c *directory.ResourceChange) error {
	if f.refuse != nil {
		return f.refuse
	}
	text := fmt.Sprintf("%s %s %s v%d", c.Op, c.Type, strings.Join(c.Attributes, ","), c.Version)
	if on, changed := c.Activated(); changed {
		text += fmt.Sprintf(" active=%t", on)
	}
	f.told = append(f.told, text)
	return nil
}

func TestFollower(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx, follows := operator(t), w.heard
		acme, other := w.tenant("acme"), w.tenant("other")
		follows.tenant = acme
		ann := w.push(acme, "ann@acme.example")
		w.push(other, "bob@other.example")
		set := func(key string, value any) func(map[string]any) (map[string]any, error) {
			return func(doc map[string]any) (map[string]any, error) {
				doc[key] = value
				return doc, nil
			}
		}
		for _, do := range []func() (*directory.Membership, error){
			func() (*directory.Membership, error) {
				return w.ChangeMembership(ctx, acme, ann.ID, 0, set("nickName", "A"))
			},
			func() (*directory.Membership, error) { // nothing new
				return w.ChangeMembership(ctx, acme, ann.ID, 0, set("nickName", "A"))
			},
			func() (*directory.Membership, error) {
				return w.ChangeMembership(directory.Replacing(ctx), acme, ann.ID, 0, set("active", false))
			},
		} {
			if _, err := do(); err != nil {
				t.Fatal(err)
			}
		}
		crew, err := w.CreateGroup(ctx, acme, map[string]any{"displayName": "Crew"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.ChangeGroup(ctx, acme, crew.ID, 0, func(doc map[string]any) (map[string]any, []directory.MemberChange, error) {
			return doc, []directory.MemberChange{{Op: directory.AddMembers, IDs: []string{string(ann.ID)}}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.DeleteGroup(ctx, acme, crew.ID, 0); err != nil {
			t.Fatal(err)
		}

		// What a follower can't take over does not happen.
		follows.refuse = errors.New("no room")
		if err := w.DeleteMembership(ctx, acme, ann.ID, 0); !errors.Is(err, follows.refuse) {
			t.Errorf("a follower's failure: %v", err)
		}
		if _, err := w.Membership(ctx, acme, ann.ID); err != nil {
			t.Errorf("after a follower's failure: %v", err)
		}
		follows.refuse = nil
		if err := w.DeleteMembership(ctx, acme, ann.ID, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Membership(ctx, acme, ann.ID); !errors.Is(err, fault.NotFound) {
			t.Errorf("after the deletion: %v", err)
		}
		want := []string{
			"create User active,displayName,emails,userName v1",
			"patch User nickName v2",
			"replace User active v3 active=false",
			"create Group displayName v1",
			"patch Group members v2",
			"delete Group displayName v2",
			"delete User active,displayName,emails,nickName,userName v3",
		}
		if got := strings.Join(follows.told, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("told:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
		}
	})
}
