package lockout

import (
	"testing"

	"github.com/rolecall/rolecall/conformance/instance"
	"github.com/rolecall/rolecall/internal/dbtest"
)

// TestNothingIsAcceptedAfterwards: once SCIM has answered to active:false, both
// servers refuse all that the person has, and the application is told.
// `make conformance-lockout` does so with a thousand people.
func TestNothingIsAcceptedAfterwards(t *testing.T) {
	t.Parallel()
	const people = 12
	dir := t.TempDir()
	program, err := instance.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	result, err := Run(t.Context(), program, dir, dbtest.Postgres(t), people)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range Ways() {
		if result.Tried[way] != 2*people || result.Accepted[way] != 0 {
			t.Errorf("%s: %d of %d accepted, want 0 of %d", way, result.Accepted[way], result.Tried[way], 2*people)
		}
	}
	if len(result.Logout) != people || len(result.Event) != people {
		t.Errorf("%d logout tokens and %d events for %d people", len(result.Logout), len(result.Event), people)
	}
}
