package storage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/dbtest"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/schema"
	"github.com/rolecall/rolecall/storage"
)

// corpus is a tenant's resources, in the store and as search documents that
// schema.Match can be asked about.
type corpus struct {
	tenant        id.Tenant
	user, group   *schema.ResourceType
	users, groups map[string]map[string]any
}

var long = strings.Repeat("ké", 200)

// words are short and alike, so that random filters find something. Some fold
// to others, some need more than ASCII, some are hostile.
var words = []string{
	"a", "A", "b", "ab", "Ab", "abc", "ba", "ß", "SS", "É", "e\u0301", "é", "Ω", "ω", "日本", "%", "_", "a%b", "a_b",
	"'", "a'b", `"`, `\`, `a\b`, "; DROP TABLE users", "$.a", "?", "@a", "{}", "\U0010FFFF", "a\U0010FFFF", "\uD7FF", "\uE000", "0", "10", "9",
	long + "a", long + "b", strings.ToUpper(long) + "A", // longer than keys are
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// device makes the filters meet what User has not: numbers, times, values that
// are no objects, and all that in an extension. Most of it is found by keys.
const device = `{"id":"urn:example:schemas:'device':2.0:User?","name":"Device","description":"d","attributes":[
	{"name":"count","indexed":true,"type":"integer","description":"d"},
	{"name":"ratio","indexed":true,"type":"decimal","description":"d"},
	{"name":"seen","indexed":true,"type":"dateTime","description":"d"},
	{"name":"on","type":"boolean","description":"d"},
	{"name":"exact","indexed":true,"type":"string","caseExact":true,"description":"d"},
	{"name":"tags","indexed":true,"type":"string","multiValued":true,"description":"d"},
	{"name":"sizes","indexed":true,"type":"integer","multiValued":true,"description":"d"},
	{"name":"place","type":"complex","description":"d","subAttributes":[
		{"name":"room","indexed":true,"type":"string","description":"d"},{"name":"floor","type":"integer","description":"d"}]}]}`

func testSchemas(t *testing.T) *schema.Registry {
	t.Helper()
	core, err := schema.Core()
	if err != nil {
		t.Fatal(err)
	}
	extension, err := schema.ParseSchema([]byte(device))
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := core.Extend([]*schema.Schema{extension}, []schema.Definition{
		{Name: "User", Extensions: []schema.ExtensionDefinition{{Schema: extension.ID}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return schemas
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// fill stores the same resources in every store: random is seeded.
func fill(t *testing.T, store *storage.Store, slug string, random *rand.Rand) *corpus {
	t.Helper()
	schemas := testSchemas(t)
	user, _ := schemas.ResourceType("User")
	group, _ := schemas.ResourceType("Group")
	c := &corpus{tenant: id.New[id.Tenant](), user: user, group: group, users: map[string]map[string]any{}, groups: map[string]map[string]any{}}
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(store.CreateTenant(ctx, &directory.Tenant{ID: c.tenant, Slug: slug, Name: slug, Blueprint: "default", BlueprintVersion: 1, Status: "enabled", Created: epoch, Modified: epoch}))

	var users []id.Membership
	for i := range 60 {
		m := c.randomUser(random, i)
		check(store.CreateUser(ctx, &directory.User{ID: m.User, Created: epoch, Modified: epoch}))
		check(store.CreateMembership(ctx, m))
		users = append(users, m.ID)
		c.users[string(m.ID)] = c.documentOf(m)
	}
	var groups []id.Group
	for i := range 12 {
		g := &directory.Group{
			Tenant: c.tenant, ID: id.New[id.Group](), DisplayName: pick(random, words) + pick(random, words), ExternalID: pick(random, []string{"", "x", "X"}),
			Profile: map[string]any{}, Search: map[string]any{}, Created: epoch.Add(time.Duration(i) * time.Microsecond), Modified: epoch,
		}
		check(store.CreateGroup(ctx, g))
		groups = append(groups, g.ID)
		var members []directory.Member
		for range random.IntN(8) {
			members = append(members, directory.Member{ID: string(pick(random, users)), Kind: directory.MemberUser})
		}
		for range random.IntN(3) { // cycles too, which the directory would refuse
			members = append(members, directory.Member{ID: string(pick(random, groups)), Kind: directory.MemberGroup})
		}
		must[int](t)(store.AddMembers(ctx, c.tenant, g.ID, members))
		doc := g.Document()
		doc["id"], doc["schemas"] = string(g.ID), []any{schema.GroupURN}
		doc["meta"] = metaOf("Group", g.Created, g.Modified, g.Version)
		c.groups[string(g.ID)] = doc
	}
	c.addReferences(ctx, t, store, users, groups)
	return c
}

func (c *corpus) randomUser(random *rand.Rand, i int) *directory.Membership {
	maybe := func(doc map[string]any, name string, value any) {
		if random.IntN(3) > 0 {
			doc[name] = value
		}
	}
	profile := map[string]any{}
	maybe(profile, "displayName", pick(random, words))
	maybe(profile, "title", pick(random, words))
	maybe(profile, "profileUrl", pick(random, []string{"http://x/a", "http://X/a"}))
	name := map[string]any{}
	maybe(name, "givenName", pick(random, words))
	maybe(name, "familyName", pick(random, words))
	maybe(profile, "name", name)
	for _, list := range []string{"emails", "phoneNumbers"} {
		var values []any
		for range random.IntN(4) {
			value := map[string]any{}
			maybe(value, "value", pick(random, words))
			maybe(value, "type", pick(random, []string{"work", "WORK", "home"}))
			maybe(value, "primary", random.IntN(2) == 0)
			values = append(values, value)
		}
		profile[list] = values
	}
	ext := map[string]any{}
	maybe(ext, "count", json.Number(pick(random, []string{"0", "1", "-5", "10", "9007199254740993", "9223372036854775807"})))
	maybe(ext, "ratio", json.Number(pick(random, []string{"0", "0.1", "1.5", "-2e3", "1e300", "1", "10"})))
	maybe(ext, "seen", pick(random, []string{"2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2025-12-31T23:59:59.999999999Z"}))
	maybe(ext, "on", random.IntN(2) == 0)
	maybe(ext, "exact", pick(random, words))
	maybe(ext, "tags", []any{pick(random, words), pick(random, words)})
	maybe(ext, "sizes", []any{json.Number("1"), json.Number(pick(random, []string{"2", "10"}))})
	maybe(ext, "place", map[string]any{"room": pick(random, words), "floor": json.Number("3")})
	maybe(profile, c.user.Extensions[len(c.user.Extensions)-1].Schema.ID, ext)
	maybe(profile, schema.EnterpriseUserURN, map[string]any{"department": pick(random, words), "manager": map[string]any{"value": pick(random, words)}})
	return &directory.Membership{
		Tenant: c.tenant, ID: id.New[id.Membership](), User: id.New[id.User](), Source: directory.SourceSCIM,
		Status:   pick(random, []directory.Status{directory.StatusActive, directory.StatusInvited, directory.StatusSuspended}),
		UserName: fmt.Sprint(pick(random, words), i), ExternalID: append([]string{"", "", ""}, words...)[i%(len(words)+3)],
		Profile: profile, Search: c.user.SearchDocument(profile), Keys: c.user.Keys(profile),
		Created:  epoch.Add(time.Duration(random.IntN(3)) * time.Microsecond),
		Modified: epoch.Add(time.Duration(random.IntN(3)) * time.Hour),
	}
}

func metaOf(name string, created, modified time.Time, version int64) map[string]any {
	return map[string]any{
		"resourceType": name, "created": created.Format(time.RFC3339Nano), "lastModified": modified.Format(time.RFC3339Nano),
		"version": fmt.Sprintf(`W/"%d"`, version),
	}
}

func (c *corpus) documentOf(m *directory.Membership) map[string]any {
	doc := m.Document()
	doc["id"] = string(m.ID)
	doc["meta"] = metaOf("User", m.Created, m.Modified, m.Version)
	if err := c.user.Complete(doc); err != nil {
		panic(err)
	}
	return doc
}

// addReferences adds what the documents show of each other.
func (c *corpus) addReferences(ctx context.Context, t *testing.T, store *storage.Store, users []id.Membership, groups []id.Group) {
	t.Helper()
	of := must[map[id.Membership][]directory.GroupRef](t)(store.GroupsOf(ctx, c.tenant, users))
	for member, refs := range of {
		var values []any
		for _, ref := range refs {
			values = append(values, map[string]any{"value": string(ref.ID), "display": ref.Display})
		}
		c.users[string(member)]["groups"] = values
	}
	for _, m := range must[[]directory.GroupMember](t)(store.Members(ctx, c.tenant, groups, "", 1000)) {
		kind := "User"
		if m.Kind == directory.MemberGroup {
			kind = "Group"
		}
		values, _ := c.groups[string(m.Group)]["members"].([]any)
		c.groups[string(m.Group)]["members"] = append(values, map[string]any{"value": m.ID, "type": kind, "display": m.Display})
	}
}

// terms are attributes with the sort of values that a filter may compare them with.
func (c *corpus) terms(t *rapid.T, resourceType *schema.ResourceType) string {
	device := c.user.Extensions[len(c.user.Extensions)-1].Schema.ID
	texts := []string{
		"userName", "externalId", "displayName", "title", "profileUrl", "name.givenName", "name.familyName", "emails", "emails.value", "emails.type",
		"phoneNumbers.value", "schemas", "meta.resourceType", "meta.version", "id",
		device + ":exact", device + ":tags", device + ":place.room", schema.EnterpriseUserURN + ":department", "manager", "groups.display", "groups",
	}
	numbers := []string{device + ":count", device + ":ratio", device + ":sizes", device + ":place.floor"}
	times := []string{"meta.created", "meta.lastModified", device + ":seen"}
	flags := []string{"active", "emails.primary", device + ":on"}
	ids := []string{"id", "groups.value"}
	if resourceType == c.group {
		texts = []string{"displayName", "externalId", "members.type", "meta.resourceType", "members.display", "schemas"}
		numbers, times, flags, ids = nil, []string{"meta.created", "meta.lastModified"}, nil, []string{"id", "members", "members.value"}
	}
	presents := slices.Concat(texts, numbers, times, flags, ids, []string{"name", "meta", device + ":place"})
	if resourceType == c.group {
		presents = slices.Concat(texts, times, ids)
	}
	order := []string{"eq", "ne", "gt", "ge", "lt", "le"}
	choices := []func() string{
		func() string {
			return one(t, texts) + " " + one(t, append([]string{"co", "sw", "ew"}, order...)) + " " + quoted(one(t, words))
		},
		func() string { return one(t, times) + " " + one(t, order) + " " + quoted(one(t, instants)) },
		func() string {
			known := append(slices.Sorted(keys(c.users)), slices.Sorted(keys(c.groups))...)
			return one(t, ids) + " " + one(t, []string{"eq", "ne", "sw", "gt"}) + " " + quoted(one(t, known))
		},
		func() string { return one(t, presents) + " pr" },
		func() string { return one(t, texts) + " " + one(t, []string{"eq", "ne"}) + ` ""` },
		func() string {
			return one(t, []string{"schemas", "meta.version", "meta.resourceType"}) + " " + one(t, []string{"eq", "sw", "co", "ew"}) + " " +
				quoted(one(t, []string{schema.UserURN, schema.GroupURN, schema.EnterpriseUserURN, "urn:", "user", "User", `W/"1"`, "W/", "Group", "group"}))
		},
	}
	if resourceType == c.user {
		choices = append(
			choices,
			func() string { return one(t, numbers) + " " + one(t, order) + " " + one(t, figures) },
			func() string {
				return one(t, flags) + " " + one(t, []string{"eq", "ne"}) + " " + one(t, []string{"true", "false", `"True"`})
			},
			func() string {
				return one(t, []string{"emails", "phoneNumbers"}) + "[" + c.valueFilter(t, 2) + "]"
			},
			func() string { return `groups[display sw ` + quoted(one(t, words)) + ` and not (value eq "x")]` },
			func() string { return "name[givenName " + one(t, order) + " " + quoted(one(t, words)) + "]" },
		)
	} else {
		choices = append(choices, func() string {
			return `members[type eq "` + one(t, []string{"user", "Group"}) + `" and not (display co ` + quoted(one(t, words)) + `)]`
		})
	}
	return rapid.SampledFrom(choices).Draw(t, "term")()
}

var (
	instants = []string{
		"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000001Z", "2026-01-02T03:04:05.0000005Z", "2026-01-02T03:04:05.000000999Z",
		"2026-01-02T04:04:05+01:00", "2026-01-02T04:04:05", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
	}
	figures = []string{"0", "1", "1.5", "-5", "10", "0.1", "9007199254740993", "9007199254740992.0", "1e300", "-2000", "9223372036854775807", "2", "3"}
)

func (c *corpus) valueFilter(t *rapid.T, depth int) string {
	term := func() string {
		if rapid.Bool().Draw(t, "flag") {
			return one(t, []string{"primary eq true", "primary eq false", "primary pr", `type eq "work"`, `type ne "home"`, "value pr", "not (value pr)"})
		}
		return "value " + one(t, []string{"eq", "ne", "co", "sw", "ew", "gt", "le"}) + " " + quoted(one(t, words))
	}
	if depth == 0 {
		return term()
	}
	switch rapid.IntRange(0, 3).Draw(t, "shape") {
	case 0:
		return c.valueFilter(t, depth-1) + " and " + c.valueFilter(t, depth-1)
	case 1:
		return "(" + c.valueFilter(t, depth-1) + " or " + c.valueFilter(t, depth-1) + ")"
	case 2:
		return "not (" + c.valueFilter(t, depth-1) + ")"
	default:
		return term()
	}
}

func (c *corpus) filter(t *rapid.T, resourceType *schema.ResourceType, depth int) string {
	if depth == 0 {
		return c.terms(t, resourceType)
	}
	switch rapid.IntRange(0, 4).Draw(t, "shape") {
	case 0:
		return c.filter(t, resourceType, depth-1) + " and " + c.filter(t, resourceType, depth-1)
	case 1:
		return "(" + c.filter(t, resourceType, depth-1) + " or " + c.filter(t, resourceType, depth-1) + ")"
	case 2:
		return "not (" + c.filter(t, resourceType, depth-1) + ")"
	default:
		return c.terms(t, resourceType)
	}
}

func one(t *rapid.T, from []string) string { return rapid.SampledFrom(from).Draw(t, "choice") }

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func bind(t interface{ Fatalf(string, ...any) }, resourceType *schema.ResourceType, text string) schema.Condition {
	expression, err := filter.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	condition, err := resourceType.Bind(expression)
	if err != nil {
		return nil
	}
	return condition
}

// What a filter finds is what schema.Match finds in memory, on both databases,
// and never anything of another tenant.
func TestFilterFindsWhatMatchFinds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		c := fill(t, store, "one", rand.New(rand.NewPCG(1, 2)))
		fill(t, store, "two", rand.New(rand.NewPCG(1, 2)))
		found := 0
		rapid.Check(t, func(r *rapid.T) {
			resourceType, documents := c.user, c.users
			if rapid.IntRange(0, 3).Draw(r, "type") == 0 {
				resourceType, documents = c.group, c.groups
			}
			text := c.filter(r, resourceType, rapid.IntRange(0, 3).Draw(r, "depth"))
			condition := bind(r, resourceType, text)
			if condition == nil {
				r.Skip("the filter fits no type")
			}
			found += c.compareWithMatch(t.Context(), r, store, resourceType, documents, text, condition)
		})
		if found == 0 {
			t.Error("no filter found anything: the test shows nothing")
		}
	})
}

// Where a range of texts ends, and where a collation would order otherwise, is
// too rarely met by chance.
func TestFilterAtEdges(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		c := fill(t, store, "one", rand.New(rand.NewPCG(5, 6)))
		for _, word := range words {
			for _, op := range []string{"sw", "co", "ew", "gt", "ge", "lt", "le", "eq", "ne"} {
				text := "externalId " + op + " " + quoted(word)
				c.compareWithMatch(t.Context(), t, store, c.user, c.users, text, bind(t, c.user, text))
				text = "members.type " + op + " " + quoted(word)
				c.compareWithMatch(t.Context(), t, store, c.group, c.groups, text, bind(t, c.group, text))
			}
		}
	})
}

// compareWithMatch returns how many resources the filter finds.
func (c *corpus) compareWithMatch(
	ctx context.Context, t interface{ Fatalf(string, ...any) }, store *storage.Store,
	resourceType *schema.ResourceType, documents map[string]map[string]any, text string, condition schema.Condition,
) int {
	want := []string{}
	for key, doc := range documents {
		if schema.Match(condition, resourceType.SearchDocument(doc)) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	got, total := c.ask(ctx, t, store, resourceType, directory.Query{Filter: condition, StartIndex: 1, Count: 1000})
	if diff := cmp.Diff(want, got); diff != "" || total != len(want) {
		t.Fatalf("%s finds %d of %d (-want +got):\n%s", text, total, len(want), diff)
	}
	return len(got)
}

func (c *corpus) ask(ctx context.Context, t interface{ Fatalf(string, ...any) }, store *storage.Store, resourceType *schema.ResourceType, q directory.Query) ([]string, int) {
	ids := []string{}
	if resourceType == c.user {
		page, err := store.Memberships(ctx, c.tenant, q)
		if err != nil {
			t.Fatalf("%v", err)
		}
		for _, m := range page.Items {
			ids = append(ids, string(m.ID))
		}
		return ids, page.Total
	}
	page, err := store.Groups(ctx, c.tenant, q)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, g := range page.Items {
		ids = append(ids, string(g.ID))
	}
	return ids, page.Total
}

func TestSort(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		c := fill(t, store, "one", rand.New(rand.NewPCG(3, 4)))
		device := c.user.Extensions[len(c.user.Extensions)-1].Schema.ID
		for _, sortBy := range []string{
			"userName", "id", "externalId", "displayName", "name.familyName", "meta.lastModified", "meta.created", "active", "emails", "emails.type",
			"emails.primary", "meta.location", "meta.version", device + ":on", device + ":exact", device + ":place.room", device + ":place.floor", device + ":count", device + ":ratio", device + ":seen", device + ":tags", device + ":sizes", "meta.resourceType",
		} {
			for _, descending := range []bool{false, true} {
				t.Run(fmt.Sprintf("RFC 7644 §3.4.2.3 %s descending %t", sortBy, descending), func(t *testing.T) {
					path, err := filter.ParseAttrPath(sortBy)
					if err != nil {
						t.Fatal(err)
					}
					key, err := c.user.BindSort(path)
					if err != nil {
						t.Fatal(err)
					}
					want := slices.SortedFunc(keys(c.users), func(a, b string) int {
						return c.compare(key, a, b, descending)
					})
					var got []string
					for start := 1; start <= len(want); start += 7 { // pages fit together
						page, _ := c.ask(t.Context(), t, store, c.user, directory.Query{SortBy: &key, Descending: descending, StartIndex: start, Count: 7})
						got = append(got, page...)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("order (-want +got):\n%s", diff)
					}
					for _, size := range []int{1, 7, len(want)} {
						if diff := cmp.Diff(want, c.walk(t, store, directory.Query{SortBy: &key, Descending: descending, Count: size})); diff != "" {
							t.Errorf("pages of %d, each from where the one before ended (-want +got):\n%s", size, diff)
						}
					}
				})
			}
		}
	})
}

// Without a key the order is that of creation; a page that isn't to be counted
// says what a counted one says but for the total.
func TestWalkInTheOrderOfCreation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, store *storage.Store) {
		c := fill(t, store, "one", rand.New(rand.NewPCG(7, 8)))
		condition := bind(t, c.user, `active eq true`)
		want, total := c.ask(t.Context(), t, store, c.user, directory.Query{Filter: condition, StartIndex: 1, Count: 1000})
		for _, size := range []int{1, 7, 1000} {
			if diff := cmp.Diff(want, c.walk(t, store, directory.Query{Filter: condition, Count: size})); diff != "" {
				t.Errorf("pages of %d (-want +got):\n%s", size, diff)
			}
		}
		for q, wanted := range map[directory.Query]directory.Page[directory.Membership]{
			{Count: 0}:                   {Total: 60},
			{Count: 0, Uncounted: true}:  {More: true},
			{Count: 60, Uncounted: true}: {},
			{Count: 59}:                  {More: true, Total: 60},
			{Count: 10, StartIndex: 51}:  {Total: 60},
			{Count: 10, StartIndex: 99}:  {Total: 60},
		} {
			page := must[*directory.Page[directory.Membership]](t)(store.Memberships(t.Context(), c.tenant, q))
			if page.More != wanted.More || page.Total != wanted.Total {
				t.Errorf("%+v: more %t, total %d; want %t, %d", q, page.More, page.Total, wanted.More, wanted.Total)
			}
		}
		if len(want) != total || total == 0 {
			t.Errorf("%d found of %d", len(want), total)
		}
	})
}

// walk reads all pages of users of the query's size.
func (c *corpus) walk(t *testing.T, store *storage.Store, q directory.Query) []string {
	t.Helper()
	q.Uncounted = true
	var ids []string
	for {
		page := must[*directory.Page[directory.Membership]](t)(store.Memberships(t.Context(), c.tenant, q))
		for _, m := range page.Items {
			ids = append(ids, string(m.ID))
		}
		if !page.More {
			return ids
		}
		if len(page.Items) != q.Count {
			t.Fatalf("a page of %d with more behind it has %d users", q.Count, len(page.Items))
		}
		q.After = &page.Last
	}
}

// compare is the order of two users. Those without a value come last, or first
// if the order is descending; the identifier decides between equals.
func (c *corpus) compare(key schema.SortKey, a, b string, descending bool) int {
	order := compareValues(c.sortValue(key, a), c.sortValue(key, b))
	if order == 0 {
		order = strings.Compare(a, b)
	}
	if descending {
		return -order
	}
	return order
}

func (c *corpus) sortValue(key schema.SortKey, user string) any {
	doc := c.user.SearchDocument(c.users[user])
	value := at(doc, key.Attr.Path)
	if !key.Attr.MultiValued {
		return value
	}
	values, _ := value.([]any)
	if len(values) == 0 {
		return nil
	}
	first := values[0]
	for _, v := range values {
		if m, ok := v.(map[string]any); ok && m["primary"] == true {
			first = v
			break
		}
	}
	m, _ := first.(map[string]any)
	return at(m, key.Sub.Path)
}

func at(doc map[string]any, path []string) any {
	for _, name := range path[:len(path)-1] {
		doc, _ = doc[name].(map[string]any)
	}
	return doc[path[len(path)-1]]
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case nil:
		if b == nil {
			return 0
		}
		return 1
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b)
		}
	case bool:
		if b, ok := b.(bool); ok {
			switch {
			case a == b:
				return 0
			case a:
				return 1
			default:
				return -1
			}
		}
	case json.Number:
		if b, ok := b.(json.Number); ok {
			x, _ := a.Float64()
			y, _ := b.Float64()
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			default:
				return 0
			}
		}
	}
	return -1 // b is absent
}
