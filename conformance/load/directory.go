package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bounds of what one bulk request carries: those that the server tells
// (RFC 7643 §5), with room for what stands around the operations.
const (
	bulkOperations = 1000
	bulkBytes      = 3 << 20
	bulkClients    = 4
)

// userBody is the n-th person of a tenant as its directory describes them.
func (s *scim) userBody(n int64) string {
	name := s.name(n)
	return fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"externalId":"ext-%d","userName":%q,`+
		`"name":{"givenName":"Given%d","familyName":"Family%d"},"displayName":"Given%d Family%d","title":"Title %d",`+
		`"emails":[{"type":"work","primary":true,"value":%q}],"active":true}`, n, name, n, n, n, n, n, name)
}

// name is the userName of the n-th person, who is in no other tenant.
func (s *scim) name(n int64) string { return strings.TrimPrefix(s.base, "/t/")[:5] + userName(n) }

// bulkAll sends operations, which it makes by their number from 0, in bulk
// requests, several at the same time, and hands the ids of what they made to
// keep. It fails where one of them does.
func (s *scim) bulkAll(ctx context.Context, operations int, operation func(n int) string, keep func(n int, id string)) error {
	var group sync.WaitGroup
	failures := make(chan error, bulkClients)
	var mu sync.Mutex // guards next, operation and keep
	next := 0
	take := func() (first, count int, body string) {
		mu.Lock()
		defer mu.Unlock()
		first = next
		var b strings.Builder
		for ; next < operations && next-first < bulkOperations && b.Len() < bulkBytes; next++ {
			if next > first {
				b.WriteByte(',')
			}
			b.WriteString(operation(next))
		}
		return first, next - first, b.String()
	}
	send := func() error {
		w := &wire{address: s.address}
		defer w.close()
		for ctx.Err() == nil {
			first, count, body := take()
			if count == 0 {
				return nil
			}
			ids, err := s.bulk(ctx, w, body)
			if err != nil {
				return err
			}
			if len(ids) != count {
				return fmt.Errorf("%d results for %d operations", len(ids), count)
			}
			mu.Lock()
			for i, id := range ids {
				keep(first+i, id)
			}
			mu.Unlock()
		}
		return ctx.Err()
	}
	for range bulkClients {
		group.Go(func() {
			if err := send(); err != nil {
				failures <- err
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}

// bulk sends one bulk request and returns the ids of its operations' resources.
func (s *scim) bulk(ctx context.Context, w *wire, operations string) ([]string, error) {
	body := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[` + operations + `]}`
	if err := w.expect(ctx, s.request(http.MethodPost, "/Bulk", body), http.StatusOK); err != nil {
		return nil, err
	}
	var answer struct {
		Operations []struct {
			Location, Status string
			Response         json.RawMessage
		}
	}
	if err := json.Unmarshal(w.body, &answer); err != nil {
		return nil, err
	}
	ids := make([]string, len(answer.Operations))
	for i, result := range answer.Operations {
		if !strings.HasPrefix(result.Status, "2") {
			return nil, fmt.Errorf("an operation ended with %s: %.300s", result.Status, result.Response)
		}
		ids[i] = result.Location[strings.LastIndexByte(result.Location, '/')+1:]
	}
	return ids, nil
}

// loaded is what a bulk load came to.
type loaded struct {
	people, members           int
	forPeople, forMemberships time.Duration
}

// load fills the tenant through POST /Bulk, but for people beyond the number bulk,
// who are copied: people, groups of some of them, and one group of the first
// large people.
func (s *scim) load(ctx context.Context, url string, all, bulk, groups, large int) (l loaded, err error) {
	begin, people := time.Now(), min(all, bulk)
	s.ids = make([]string, people)
	err = s.bulkAll(ctx, people, func(n int) string {
		return fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":"%d","data":%s}`, n, s.userBody(int64(n)+1))
	}, func(n int, id string) { s.ids[n] = id })
	if err != nil {
		return l, err
	}
	s.made.Store(int64(people))
	l.people, l.forPeople = people, time.Since(begin)
	if err := s.copy(ctx, url, all); err != nil {
		return l, err
	}
	people = all

	begin = time.Now()
	size := min(50, people)
	s.groups = make([]string, groups)
	err = s.bulkAll(ctx, groups, func(n int) string {
		members := ""
		if n > 0 { // the first one is the large one
			from := n * size % (people - size + 1)
			members = references(s.ids[from : from+size])
			l.members += size
		}
		return fmt.Sprintf(`{"method":"POST","path":"/Groups","bulkId":"%d","data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],`+
			`"displayName":"Group %d","externalId":"group-%d","members":[%s]}}`, n, n, n, members)
	}, func(n int, id string) { s.groups[n] = id })
	if err != nil {
		return l, err
	}
	const batch = 1000
	err = s.bulkAll(ctx, (large+batch-1)/batch, func(n int) string {
		members := references(s.ids[n*batch : min((n+1)*batch, large)])
		return fmt.Sprintf(`{"method":"PATCH","path":"/Groups/%s","data":{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],`+
			`"Operations":[{"op":"add","path":"members","value":[%s]}]}}`, s.groups[0], members)
	}, func(int, string) {})
	l.members += large
	l.forMemberships = time.Since(begin)
	return l, err
}

// references are members as a client writes them, without the brackets.
func references(ids []string) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"value":"` + id + `"}`)
	}
	return b.String()
}

// template is the number of the person whom copy multiplies. Wherever it is in
// their rows stands the number of the copy.
const template = 987_654_321

// copy makes people up to the number in the database itself, in the image of one
// that came over SCIM: a load takes so long that only a part of a run's people
// can come that way.
func (s *scim) copy(ctx context.Context, url string, people int) error {
	from := len(s.ids)
	if from >= people {
		return nil
	}
	w := &wire{address: s.address}
	defer w.close()
	if err := w.expect(ctx, s.request(http.MethodPost, "/Users", s.userBody(template)), http.StatusCreated); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	const copies = `INSERT INTO %[1]s SELECT (jsonb_populate_record(row, replace(to_jsonb(row)::text, '%[2]d', n::text)::jsonb || jsonb_build_object(%[3]s))).*
		FROM (SELECT r FROM %[1]s r WHERE %[4]s LIMIT 1) one(row), generate_series($1::bigint, $2::bigint) n`
	identifier := func(kind string) string { return "'01ffffff-" + kind + "-7000-8000-' || lpad(to_hex(n), 12, '0')" }
	login, person := identifier("0000"), identifier("0001")
	const atOnce = 50_000
	for ; err == nil && from < people; from += atOnce {
		last := min(from+atOnce, people)
		for _, statement := range []string{
			fmt.Sprintf(copies, "users", template, "'id', "+login, "email_key = $3"),
			fmt.Sprintf(copies, "memberships", template, "'id', "+person+", 'user_id', "+login, "user_name_key = $3"),
		} {
			if err == nil {
				_, err = conn.Exec(ctx, statement, from+1, last, s.name(template))
			}
		}
		for n := from + 1; n <= last; n++ {
			s.ids = append(s.ids, fmt.Sprintf("01ffffff-0001-7000-8000-%012x", n))
		}
		s.made.Store(int64(last))
	}
	return closed(ctx, conn, err)
}
