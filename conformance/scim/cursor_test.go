package scim

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// page asks for a page of users by cursor.
func (x *tester) page(cursor, more string) answer {
	x.Helper()
	return x.get("/Users?cursor=" + url.QueryEscape(cursor) + more)
}

// cursored makes users and returns their ids in order.
func (x *tester) cursored(n int) []string {
	x.Helper()
	x.needs("pagination.cursor")
	made := []string{}
	for range n {
		made = append(made, x.user().id())
	}
	slices.Sort(made)
	return made
}

func cursorFirstPage(x *tester) {
	x.cursored(5)
	first := x.want(x.page("", "&count=2"), 200)
	x.same("Resources", len(first.list("Resources")), 2)
	next := first.text("nextCursor")
	x.ok(regexp.MustCompile(`^[A-Za-z0-9._~-]+$`).MatchString(next), "nextCursor is %q", next)
	x.same("the same page", ids(x.want(x.get("/Users?cursor&count=2"), 200)), ids(first))
	for _, id := range ids(first) {
		x.ok(!strings.Contains(next, id), "the cursor shows an id")
	}
	for _, bad := range []string{"x", next + "x", next[:len(next)-1], strings.ToUpper(next), "1", "bnVsbA"} {
		if bad != next {
			x.wantError(x.page(bad, "&count=2"), 400, "invalidCursor")
		}
	}
}

func cursorCount(x *tester) {
	x.cursored(5)
	x.same("count=-1", len(x.want(x.page("", "&count=-1"), 200).list("Resources")), 0)
	next := x.want(x.page("", "&count=2"), 200).text("nextCursor")
	x.want(x.page(next, "&count=2"), 200)
	x.wantError(x.page(next, "&count=3"), 400, "invalidCount")
}

func cursorWalk(x *tester) {
	made := x.cursored(7)
	for _, order := range []string{"", "&sortBy=userName&sortOrder=descending", "&filter=" + url.QueryEscape("userName pr")} {
		var walked []string
		cursor, pages := "", 0
		for {
			a := x.want(x.page(cursor, "&count=3"+order), 200)
			walked = append(walked, ids(a)...)
			pages++
			next, there := a.body["nextCursor"]
			if !there {
				break
			}
			x.ok(len(a.list("Resources")) == 3 && next != "" && next != cursor, "page %d: %.300s", pages, a.raw)
			cursor = a.text("nextCursor")
			if pages > 5 {
				x.Fatal("the walk does not end")
			}
		}
		slices.Sort(walked)
		x.same("walked "+order, walked, made)
		x.same("pages", pages, 3)
	}
	none := x.want(x.page("", "&filter="+url.QueryEscape(`userName eq "nobody"`)), 200)
	_, there := none.body["nextCursor"]
	x.ok(!there, "an empty list has a nextCursor")
}

func cursorPrevious(x *tester) {
	x.cursored(5)
	first := x.want(x.page("", "&count=2"), 200)
	_, there := first.body["previousCursor"]
	x.ok(!there, "the first page has a previousCursor")
	second := x.want(x.page(first.text("nextCursor"), "&count=2"), 200)
	if previous := second.text("previousCursor"); previous != "" {
		x.same("back on the first page", ids(x.want(x.page(previous, "&count=2"), 200)), ids(first))
	}
}

func cursorIsBound(x *tester) {
	x.cursored(5)
	next := x.want(x.page("", "&count=2&sortBy=userName"), 200).text("nextCursor")
	for _, other := range []string{"", "&sortBy=externalId", "&sortBy=userName&sortOrder=descending", "&sortBy=userName&filter=" + url.QueryEscape("userName pr")} {
		x.wantError(x.page(next, "&count=2"+other), 400, "invalidCursor")
	}
	x.wantError(x.get("/Groups?count=2&sortBy=userName&cursor="+next), 400)
	x.wantError(x.page(next, "&count=2&sortBy=userName&startIndex=2"), 400)
	x.want(x.page(next, "&count=2&sortBy=userName"), 200)
}

func cursorTotals(x *tester) {
	x.cursored(5)
	a := x.want(x.page("", "&count=2"), 200)
	if total, there := a.body["totalResults"]; there {
		x.same("totalResults", total, 5)
	}
	_, there := a.body["startIndex"]
	x.ok(!there, "startIndex on a page by cursor: %.200s", a.raw)
	x.same("itemsPerPage", a.at("itemsPerPage"), 2)
}

func cursorIsNoDefault(x *tester) {
	x.cursored(3)
	a := x.want(x.get("/Users?count=2"), 200)
	x.ok(a.at("startIndex") == 1.0 && a.at("totalResults") == 3.0, "got %.300s", a.raw)
	_, there := a.body["nextCursor"]
	x.ok(!there, "nextCursor unasked")
}

func cursorInSearch(x *tester) {
	made := x.cursored(3)
	body := m{"schemas": l{searchURN}, "count": 2, "cursor": ""}
	first := x.want(x.post("/Users/.search", body), 200)
	second := x.want(x.post("/Users/.search", with(body, m{"cursor": first.text("nextCursor")})), 200)
	walked := append(ids(first), ids(second)...)
	slices.Sort(walked)
	x.same("walked", walked, made)
	_, there := second.body["nextCursor"]
	x.ok(!there, "the last page has a nextCursor")
	x.wantError(x.post("/Users/.search", with(body, m{"cursor": "nothing"})), 400, "invalidCursor")
}

func cursorInConfig(x *tester) {
	pagination, _ := x.needs("pagination.cursor").at("pagination").(m)
	x.same("cursor, index, default", []any{pagination["cursor"], pagination["index"], pagination["defaultPaginationMethod"]}, []any{true, true, "index"})
	size, _ := pagination["defaultPageSize"].(float64)
	largest, _ := pagination["maxPageSize"].(float64)
	x.ok(size > 0 && size <= largest, "the sizes are %v and %v", size, largest)
	if timeout, there := pagination["cursorTimeout"]; there {
		seconds, _ := timeout.(float64)
		x.ok(seconds > 0, "cursorTimeout is %v", timeout)
	}
	a := x.want(x.get(fmt.Sprintf("/Users?cursor&count=%d", int(largest)*10)), 200)
	x.ok(a.at("itemsPerPage") != nil, "got %.200s", a.raw)
}

func cursorOfOthers(x *tester) {
	x.cursored(5)
	next := x.want(x.page("", "&count=2"), 200).text("nextCursor")
	foreign := x.foreign()
	stolen := foreign.wantError(foreign.page(next, "&count=2"), 400, "invalidCursor")
	broken := foreign.wantError(foreign.page("nothing", "&count=2"), 400, "invalidCursor")
	x.same("what the refusals say", stolen.body, broken.body)
	x.wantError(x.do(http.MethodGet, "/Users?count=2&cursor="+next, nil, "Authorization: Bearer nothing"), 401)
}
