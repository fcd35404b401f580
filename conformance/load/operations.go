package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// scimOperation is one thing that directories do, measured with several numbers
// of clients.
type scimOperation struct {
	name    string
	clients []int
	least   float64 // per second, the best number of clients counts; 0: none
	most    float64 // times the cost in the small directory, with one client; 0: none
	do      func(s *scim, clients, n int) worker
}

// numbersOfClients are those that most operations are measured with.
func numbersOfClients() []int { return []int{1, 8, 32} }

// scimOperations are what is measured of a directory.
func scimOperations() []scimOperation {
	some, one := numbersOfClients(), []int{1}
	get := func(path func(s *scim, r *rand.Rand) string, holds string) func(*scim, int, int) worker {
		return func(s *scim, _, _ int) worker {
			return s.gets(func(r *rand.Rand) string { return path(s, r) }, holds)
		}
	}
	users := func(filter func(s *scim, n int64) string) func(*scim, int, int) worker {
		return get(func(s *scim, r *rand.Rand) string {
			return "/Users?filter=" + url.QueryEscape(filter(s, 1+r.Int64N(s.loaded)))
		}, `"totalResults":1`)
	}
	return []scimOperation{
		{name: "look a user up by userName", clients: some, least: 5000, most: 1.5, do: users(func(s *scim, n int64) string { return fmt.Sprintf("userName eq %q", s.name(n)) })},
		{name: "look a user up by externalId", clients: some, least: 5000, most: 1.5, do: users(func(_ *scim, n int64) string { return fmt.Sprintf(`externalId eq "ext-%d"`, n) })},
		{name: "read a user by id", clients: some, least: 6000, do: get(func(s *scim, r *rand.Rand) string { return "/Users/" + s.ids[r.IntN(int(s.loaded))] }, "")},
		{name: "create a user", clients: some, least: 1000, do: func(s *scim, _, _ int) worker {
			w := &wire{address: s.address}
			return func(ctx context.Context) (time.Duration, error) { return 0, s.create(ctx, w) }
		}},
		{name: "switch a user off or on (PATCH active)", clients: some, least: 1400, do: (*scim).switches},
		{name: "read a group without members", clients: some, do: get(func(s *scim, r *rand.Rand) string {
			return "/Groups/" + s.groups[r.IntN(len(s.groups))] + "?excludedAttributes=members"
		}, "")},
		{name: "page of 100 users, the first", clients: some, do: get(func(*scim, *rand.Rand) string { return "/Users?count=100" }, `"itemsPerPage":100`)},
		{name: "page of 100 users, deep, by index", clients: one, do: get(func(s *scim, r *rand.Rand) string {
			return fmt.Sprintf("/Users?count=100&startIndex=%d", s.loaded*9/10-r.Int64N(s.loaded/100))
		}, `"itemsPerPage":100`)},
		{name: "page of 100 users by cursor, the second", clients: some, do: get(func(s *scim, _ *rand.Rand) string {
			return "/Users?excludedAttributes=groups&cursor=" + s.second
		}, `"itemsPerPage":100`)},
		{name: "page of 100 users by cursor, deep", clients: some, do: get(func(s *scim, _ *rand.Rand) string {
			return "/Users?excludedAttributes=groups&cursor=" + s.cursor
		}, `"itemsPerPage":100`)},
		{name: "emails[type eq … and value eq …]", clients: some, do: users(func(s *scim, n int64) string { return fmt.Sprintf(`emails[type eq "work" and value eq %q]`, s.name(n)) })},
		{name: "displayName co, one matches", clients: one, do: users(func(_ *scim, n int64) string { return fmt.Sprintf(`displayName co "n%d f"`, n) })},
		{name: "userName co, one matches", clients: one, do: users(func(_ *scim, n int64) string { return fmt.Sprintf(`userName co "on%d@"`, n) })},
		{name: "title eq, which is not indexed", clients: one, do: users(func(_ *scim, n int64) string { return fmt.Sprintf(`title eq "title %d"`, n) })},
	}
}

// gets reads what path says again and again.
func (s *scim) gets(path func(r *rand.Rand) string, holds string) worker {
	w, r := &wire{address: s.address}, rand.New(rand.NewPCG(rand.Uint64(), 1)) //nolint:gosec // it picks people
	return func(ctx context.Context) (time.Duration, error) {
		asked := path(r)
		if err := w.expect(ctx, s.request(http.MethodGet, asked, ""), http.StatusOK); err != nil {
			return 0, err
		}
		if !strings.Contains(string(w.body), holds) {
			return 0, fmt.Errorf("%s: not as expected: %.300s", asked, w.body)
		}
		return 0, nil
	}
}

// switches switches people off and on again, each client its own.
func (s *scim) switches(clients, n int) worker {
	const patch = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":%t}]}`
	w, turn := &wire{address: s.address}, 0
	mine := int(s.loaded) / clients
	return func(ctx context.Context) (time.Duration, error) {
		person := s.ids[n*mine+turn/2%mine]
		turn++
		return 0, w.expect(ctx, s.request(http.MethodPatch, "/Users/"+person, fmt.Sprintf(patch, turn%2 == 0)), http.StatusOK)
	}
}

// memberChange adds members to a group and removes them again; the part that
// remove names is what counts. One client does so: several would wait for the
// group's row.
func (s *scim) memberChange(group string, from, many int, remove bool) worker {
	w, turn := &wire{address: s.address}, 0
	outside := len(s.ids) - from
	return func(ctx context.Context) (time.Duration, error) {
		first := from + turn*many%(outside-many+1)
		turn++
		members := s.ids[first : first+many]
		start := time.Now()
		if err := s.patch(ctx, w, group, "add", members...); err != nil {
			return 0, err
		}
		between := time.Now()
		if err := s.patch(ctx, w, group, "remove", members...); err != nil {
			return 0, err
		}
		if remove {
			return time.Since(between), nil
		}
		return between.Sub(start), nil
	}
}

// walk goes through all people by cursor and keeps one of a page near the end.
func (s *scim) walk(ctx context.Context) (people int, cost time.Duration, err error) {
	w, begin := &wire{address: s.address}, time.Now()
	defer w.close()
	path := "/Users?attributes=userName&count=100&cursor="
	for {
		if err := w.expect(ctx, s.request(http.MethodGet, path, ""), http.StatusOK); err != nil {
			return people, 0, err
		}
		var page struct {
			NextCursor string
			Resources  []struct{ ID string }
		}
		if err := json.Unmarshal(w.body, &page); err != nil {
			return people, 0, err
		}
		people += len(page.Resources)
		if page.NextCursor == "" {
			break
		}
		if s.second == "" {
			s.second = page.NextCursor
		}
		if people < int(s.loaded)*95/100 || s.cursor == "" {
			s.cursor = page.NextCursor
		}
		path = "/Users?attributes=userName&cursor=" + page.NextCursor
	}
	if people < int(s.loaded) {
		return people, 0, errors.New("the walk by cursor has lost people")
	}
	return people, time.Since(begin), nil
}
