package cache_test

import (
	"errors"
	"testing"

	"github.com/rolecall/rolecall/internal/cache"
)

func TestRecent(t *testing.T) {
	t.Parallel()
	r, err := cache.NewRecent[string, int]()
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	get := func(key string) int {
		t.Helper()
		got, err := r.Get(key, func() (int, error) { reads++; return reads, nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if a, b, other := get("a"), get("a"), get("b"); a != 1 || b != 1 || other != 2 {
		t.Errorf("got %d, %d and %d of another", a, b, other)
	}
	r.Changed()
	if a := get("a"); a != 3 {
		t.Errorf("after a change: got %d", a)
	}
	failed := errors.New("failed")
	if _, err := r.Get("c", func() (int, error) { return 0, failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if c := get("c"); c != 4 {
		t.Errorf("a failure was kept: got %d", c)
	}
	// What was read before a change is not taken for what is after it.
	overtaken, err := r.Get("d", func() (int, error) { r.Changed(); return -1, nil })
	if d := get("d"); overtaken != -1 || err != nil || d != 5 {
		t.Errorf("got %d, then %d", overtaken, d)
	}
}
