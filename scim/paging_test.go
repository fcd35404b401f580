package scim_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/directory"
)

var unreserved = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

// byCursor reads all pages of a query by cursor.
func (c *client) byCursor(path, query string) (ids []string, pages int) {
	c.t.Helper()
	cursor := ""
	for {
		r := c.get(path + "?" + query + "&cursor=" + cursor).want(http.StatusOK)
		found := r.found()
		ids, pages = append(ids, found...), pages+1
		next, more := r.at("nextCursor").(string)
		if !more {
			return ids, pages
		}
		if cursor = next; !unreserved.MatchString(next) || len(found) == 0 {
			c.t.Fatalf("%s: cursor %q after %d resources", r.what, next, len(found))
		}
	}
}

// byIndex reads all pages of a query by number, as clients do: until the total.
// between is called after each page.
func (c *client) byIndex(path, query string, between func()) (ids []string) {
	c.t.Helper()
	for start := 1; ; {
		r := c.get(fmt.Sprintf("%s?%s&startIndex=%d", path, query, start)).want(http.StatusOK)
		found := r.found()
		ids, start = append(ids, found...), start+len(found)
		if total := number(c.t, r.at("totalResults")); len(found) == 0 || start > total {
			return ids
		}
		between()
	}
}

func number(t *testing.T, value any) int {
	t.Helper()
	n := 0
	if _, err := fmt.Sscan(fmt.Sprint(value), &n); err != nil {
		t.Fatalf("%v is no number", value)
	}
	return n
}

func TestCursorPaging(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ids := people(c, 12)
		groups := []string{c.group("a"), c.group("b", ids...), c.group("c")}
		t.Run("RFC 9865 §2 a walk gives the list, and its last page has no nextCursor", func(t *testing.T) {
			for count, wantPages := range map[int]int{1: 12, 4: 3, 5: 3, 11: 2, 12: 1, 200: 1} {
				walked, pages := c.byCursor("/Users", fmt.Sprint("count=", count))
				if diff := cmp.Diff(ids, walked); diff != "" || pages != wantPages {
					t.Errorf("count=%d has %d pages, want %d (-want +got):\n%s", count, pages, wantPages, diff)
				}
			}
		})
		t.Run("RFC 9865 §2 what a page says", func(t *testing.T) {
			first := c.get("/Users?cursor&count=5").has("itemsPerPage", 5).has("startIndex", nil).has("totalResults", 12).has("previousCursor", nil)
			c.get("/Users?count=5&cursor="+first.at("nextCursor").(string)).has("itemsPerPage", 5).has("totalResults", nil).has("previousCursor", nil)
			c.get("/Users?cursor=&count=5&filter="+url.QueryEscape(`id pr`)).has("itemsPerPage", 5).has("totalResults", nil)
			c.get("/Users?cursor=").has("totalResults", 12).has("itemsPerPage", 12).has("nextCursor", nil)
			c.get("/Users?cursor=&count=0").has("totalResults", 12).has("itemsPerPage", 0).has("nextCursor", nil)
			c.get("/Users?cursor=&count=-3").has("totalResults", 12).has("itemsPerPage", 0).has("nextCursor", nil)
			c.get("/Users?cursor=&filter="+url.QueryEscape(`userName eq "nobody"`)).has("totalResults", 0).has("nextCursor", nil)
		})
		t.Run("RFC 9865 §1 paging by index stays the default", func(t *testing.T) {
			c.get("/Users?count=5").has("nextCursor", nil).has("startIndex", 1).has("totalResults", 12)
		})
		t.Run("RFC 9865 §3 POST .search has the cursor in its body", func(t *testing.T) {
			search := map[string]any{"schemas": []string{searchURN}, "count": 5, "sortBy": "userName", "cursor": ""}
			var walked []string
			for range 3 {
				r := c.send("POST", "/Users/.search", search)
				walked = append(walked, r.found()...)
				search["cursor"] = r.at("nextCursor")
			}
			if diff := cmp.Diff(ids, walked); diff != "" || search["cursor"] != nil {
				t.Errorf("cursor %v (-want +got):\n%s", search["cursor"], diff)
			}
			search["cursor"], search["startIndex"] = "", 1
			c.send("POST", "/Users/.search", search).fails(http.StatusBadRequest, "invalidValue", "startIndex", "cursor")
			search["cursor"], search["startIndex"], search["count"] = "", nil, "many"
			c.send("POST", "/Users/.search", search).fails(http.StatusBadRequest, "invalidCount", "count")
		})
		t.Run("RFC 7644 §3.4.2.1 over several types", func(t *testing.T) {
			for count := 1; count <= 16; count++ {
				walked, _ := c.byCursor("/", fmt.Sprint("count=", count))
				if diff := cmp.Diff(slices.Concat(ids, groups), walked); diff != "" {
					t.Errorf("count=%d (-want +got):\n%s", count, diff)
				}
			}
		})
		next := func(query string) string { return c.get("/Users?cursor=&" + query).at("nextCursor").(string) }
		t.Run("RFC 9865 §2.1 errors", func(t *testing.T) {
			cursor := next("count=5&sortBy=userName")
			same := "/Users?count=5&sortBy=userName&cursor="
			altered := []byte(cursor)
			altered[len(altered)/2] ^= 1
			details := map[string]bool{}
			for name, r := range map[string]*response{
				"another filter":     c.get(same + cursor + "&filter=" + url.QueryEscape("id pr")),
				"another sortBy":     c.get("/Users?count=5&sortBy=id&cursor=" + cursor),
				"no sortBy":          c.get("/Users?count=5&cursor=" + cursor),
				"another order":      c.get(same + cursor + "&sortOrder=descending"),
				"another type":       c.get("/Groups?count=5&cursor=" + cursor),
				"all types":          c.get("/?count=5&cursor=" + cursor),
				"another tenant":     in.of(t, "umbrella", directory.ProfileRFC).get(same + cursor),
				"another connection": in.as(t, directory.ProfileOkta).get(same + cursor),
				"altered":            c.get(same + string(altered)),
				"cut":                c.get(same + cursor[:len(cursor)-5]),
				"nonsense":           c.get(same + "x"),
				"hostile":            c.get(same + url.QueryEscape("'; DROP TABLE users --\x00")),
			} {
				if name == "all types" { // which can't be sorted
					r = c.get("/?count=5&cursor=" + next("count=5"))
				}
				r.fails(http.StatusBadRequest, "invalidCursor", "cursor")
				details[r.at("detail").(string)] = true
			}
			if len(details) != 1 {
				t.Errorf("the errors tell one from another: %v", details)
			}
			c.get(same+cursor).want(http.StatusOK).has("itemsPerPage", 5)
			c.get("/Users?sortBy=userName&cursor="+cursor).has("itemsPerPage", 5)
			c.get("/Users?sortBy=userName&count=6&cursor="+cursor).fails(http.StatusBadRequest, "invalidCount", "5")
			c.get("/Users?sortBy=userName&count=0&cursor="+cursor).fails(http.StatusBadRequest, "invalidCount", "5")
			c.get("/Users?count=five&cursor=").fails(http.StatusBadRequest, "invalidCount", "count")
			c.get("/Users?startIndex=2&cursor=").fails(http.StatusBadRequest, "invalidValue", "startIndex", "cursor")
			c.get("/Users?cursor=&cursor=").fails(http.StatusBadRequest, "invalidValue", "cursor")
			in.clock.Advance(time.Hour - time.Second)
			c.get(same + cursor).want(http.StatusOK)
			in.clock.Advance(time.Second)
			c.get(same+cursor).fails(http.StatusBadRequest, "expiredCursor", "cursor")
		})
		t.Run("a cursor tells nobody whom it stands behind", func(t *testing.T) {
			plain, err := base64.RawURLEncoding.DecodeString(next("count=5&sortBy=emails"))
			if err != nil || strings.Contains(string(plain), "example.com") || strings.Contains(string(plain), ids[4]) {
				t.Errorf("%v, %q", err, plain)
			}
		})
		t.Run("RFC 9865 §5 a cursor needs its credential", func(t *testing.T) {
			c.with("Authorization", "Bearer x").get("/Users?count=5&cursor="+next("count=5")).fails(http.StatusUnauthorized, "")
		})
	})
}

// Whoever walks from page to page gets everybody who was there throughout, once.
func TestIndexWalksLoseNothing(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		ids := people(c, 20)
		remove := func(id string) { c.send("DELETE", "/Users/"+id, nil).want(http.StatusNoContent) }

		var gone int
		walked := c.byIndex("/Users", "count=4", func() {
			if gone < 6 { // two people who have been seen, after each of three pages
				remove(ids[gone])
				remove(ids[gone+1])
				gone += 2
			}
		})
		if diff := cmp.Diff(ids, walked); diff != "" {
			t.Errorf("while others are deleted in front of the pages (-want +got):\n%s", diff)
		}
		ids = ids[gone:]
		if diff := cmp.Diff(ids, c.byIndex("/Users", "count=4", func() {})); diff != "" {
			t.Errorf("a walk begins with what there is now (-want +got):\n%s", diff)
		}

		n := 0
		walked = c.byIndex("/Users", "count=4&sortBy=userName", func() { n++; c.user(fmt.Sprintf("a%d", n)) })
		if diff := cmp.Diff(ids, walked); diff != "" {
			t.Errorf("while others come in front of the pages (-want +got):\n%s", diff)
		}

		first := c.get("/Users?count=4").found()
		remove(first[0])
		second := c.get("/Users?count=4&startIndex=5").has("totalResults", 14+n-1)
		if again := c.get("/Users?count=4&startIndex=5").found(); !slices.Equal(again, second.found()) || again[0] != ids[4] {
			t.Errorf("asked again, a page has %v instead of %v", again, second.found())
		}
		if jumped := in.as(t, directory.ProfileEntra).get("/Users?count=4&startIndex=5").found(); jumped[0] != ids[5] {
			t.Error("a page continues the walk of another connection")
		}
		if jumped := c.get("/Users?count=3&startIndex=4&filter=" + url.QueryEscape("id pr")).found(); jumped[0] != ids[4] {
			t.Error("a jump does not go by numbers")
		}
		in.clock.Advance(2 * time.Hour)
		if late := c.get("/Users?count=4&startIndex=5").found(); late[0] != ids[5] {
			t.Error("a walk is remembered for ever")
		}
		t.Run("over several types", func(t *testing.T) {
			groups := []string{c.group("a"), c.group("b"), c.group("c")}
			all := append(c.byIndex("/Users", "", func() {}), groups...)
			i := 0
			walked := c.byIndex("/", "count=3", func() {
				if i < 4 {
					remove(all[i])
					i++
				}
			})
			if diff := cmp.Diff(all, walked); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	})
}

// TestPagingOracle walks while others write: whoever was there throughout, and
// kept what the list is sorted by, is found exactly once, in order.
func TestPagingOracle(t *testing.T) {
	each(t, func(t *testing.T, in *instance) {
		c := in.as(t, directory.ProfileRFC)
		lasting := map[string]int{} // by id: the order by userName
		for i := range 30 {
			body := map[string]any{"schemas": []string{userURN}, "userName": fmt.Sprintf("s%02d", i)}
			if i%3 > 0 {
				body["title"] = []string{"", "ä", "Z"}[i%3]
				body["emails"] = []any{map[string]any{"value": fmt.Sprintf("x%d@e.example", i%5)}, map[string]any{"value": "y@e.example", "primary": i%2 == 0}}
			}
			lasting[c.send("POST", "/Users", body).want(http.StatusCreated).at("id").(string)] = i
		}
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for w := range 2 {
			writers.Go(func() {
				own := in.as(t, directory.ProfileRFC)
				var guests []string
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					guest := own.send("POST", "/Users", map[string]any{
						"schemas": []string{userURN}, "userName": fmt.Sprintf("s%02d-%d-%d", (i*7)%30, w, i), "title": []string{"a", "ä", "Z", "z"}[i%4],
					})
					id, ok := guest.at("id").(string)
					if !ok {
						t.Errorf("%s", guest.Body)
						return
					}
					if guests = append(guests, id); len(guests) > 6 {
						own.send("DELETE", "/Users/"+guests[i%len(guests)], nil)
						guests = slices.Delete(guests, i%len(guests), i%len(guests)+1)
					}
					for id := range lasting { // one of them
						own.send("PATCH", "/Users/"+id, patchOf(op("replace", "nickName", fmt.Sprint(i))))
						break
					}
				}
			})
		}
		defer writers.Wait()
		defer close(stop)
		for _, query := range []string{
			"", "sortBy=userName", "sortBy=userName&sortOrder=descending", "sortBy=title", "sortBy=title&sortOrder=descending",
			"sortBy=emails&sortOrder=descending", "sortBy=emails.value", "sortBy=meta.created&sortOrder=descending", "sortBy=active",
			"filter=" + url.QueryEscape(`userName sw "s" and not (userName ew "-1")`) + "&sortBy=userName",
		} {
			for _, path := range []string{"/Users", "/"} {
				if path == "/" && query != "" {
					continue
				}
				byCursor, _ := c.byCursor(path, query+"&count=7")
				for method, walked := range map[string][]string{
					"cursor": byCursor, "index": c.byIndex(path, query+"&count=7", func() {}),
				} {
					seen, order := map[string]int{}, []int{}
					for _, id := range walked {
						if seen[id]++; seen[id] > 1 {
							t.Errorf("%s?%s by %s: %s twice", path, query, method, id)
						}
						if i, lasts := lasting[id]; lasts {
							order = append(order, i)
						}
					}
					if len(order) != len(lasting) {
						t.Errorf("%s?%s by %s: %d of %d", path, query, method, len(order), len(lasting))
					}
					if query == "" || strings.HasSuffix(query, "sortBy=userName") {
						if !slices.IsSorted(order) {
							t.Errorf("%s?%s by %s: not in order: %v", path, query, method, order)
						}
					}
				}
			}
		}
	})
}
