package main

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/rolecall/rolecall/conformance/application"
	"github.com/rolecall/rolecall/conformance/browser"
)

// The cost of a password hash, which is the instance's default: argon2id with
// KiB of memory, passes and lanes.
const hashMemory, hashPasses, hashLanes = 19456, 2, 1

// What a run of signing in is made of.
const (
	addresses   = 300                    // that somebody has, each asked about once; as many that nobody has
	readers     = 4                      // clients of the pages that need no hash
	readerPause = 20 * time.Millisecond  // of each, between two pages
	flooders    = 320                    // more than are computed and wait at a time
	floodTime   = 6 * time.Second        // of a flood
	probePause  = 10 * time.Millisecond  // between two requests for something else meanwhile
	floodPause  = 100 * time.Millisecond // after being turned away, where a client has been told to wait two seconds
)

// signing is a run that measures signing in.
type signing struct {
	*bench
	rows [][]string
}

// run measures everything and prints the table.
func (s *signing) run(ctx context.Context, stdout io.Writer) error {
	begin := time.Now()
	debug.SetGCPercent(400) // as the server does: the limit is to be no worse off
	if err := s.start(ctx); err != nil {
		return err
	}
	r, err := s.heading(ctx)
	if err != nil {
		return err
	}
	r.heading[2] = fmt.Sprintf("%d clients, %d × %s each, medians; argon2id with %d KiB, %d passes, %d lane", s.clients, s.rounds, s.window, hashMemory, hashPasses, hashLanes)
	if _, err := s.instance.Apply(ctx, signInFile(passwordHash(), s.clients, addresses)); err != nil {
		return err
	}
	for _, measure := range []func(context.Context, *report) error{s.logins, s.page, s.pages, s.enumeration, s.flood} {
		if err := measure(ctx, r); err != nil {
			return err
		}
	}
	r.note("The run took %s. %d short of what is expected.", time.Since(begin).Round(time.Second), r.short)
	lines := append(r.heading, "", "measured\tresult\texpected\t")
	for _, row := range s.rows {
		lines = append(lines, strings.Join(row, "\t"))
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(table, strings.Join(append(append(lines, ""), r.notes...), "\n")+"\n"); err != nil {
		return err
	}
	return table.Flush()
}

func (s *signing) row(name, result string, expected ...string) {
	s.rows = append(s.rows, append([]string{name, result}, expected...))
}

// passwordHash is the password's, in PHC form.
func passwordHash() string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	encoding := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashPasses, hashLanes,
		encoding.EncodeToString(salt), encoding.EncodeToString(argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashLanes, 32)))
}

// hashes computes password hashes on all processors, and nothing else.
func hashes() *measurement {
	return &measurement{name: "argon2id", clients: runtime.NumCPU(), worker: func(int) (worker, error) {
		salt := make([]byte, 16)
		return func(context.Context) (time.Duration, error) {
			argon2.IDKey([]byte(password), salt, hashPasses, hashMemory, hashLanes, 32)
			return 0, nil
		}, nil
	}}
}

// signInFile adds to [instanceFile] a person for each client, and so many whose
// addresses are tried. All have the password of the hash.
func signInFile(hash string, clients, known int) string {
	var file strings.Builder
	file.WriteString("users:\n")
	person := func(email string) {
		fmt.Fprintf(&file, "- {email: %s, password_hash: %q, memberships: [{tenant: main, roles: [member], status: active}]}\n", email, hash)
	}
	for n := range clients {
		person(clientEmail(n))
	}
	for n := range known {
		person(knownEmail(n))
	}
	return file.String()
}

func clientEmail(n int) string  { return fmt.Sprintf("client%d@bench.example", n) }
func knownEmail(n int) string   { return fmt.Sprintf("somebody%04d@bench.example", n) }
func unknownEmail(n int) string { return fmt.Sprintf("nobody%06d@bench.example", n) }

// logins measures whole sign-ins with a password, from the application's request
// to the code that it gets, in browsers that are known.
func (s *signing) logins(ctx context.Context, report *report) error {
	limit := hashes()
	app := application.Application{Issuer: s.instance.URL, ClientID: webID, Secret: webSecret, RedirectURI: redirectURI}
	logins := &measurement{name: "sign-in", clients: s.clients, worker: func(n int) (worker, error) {
		b, err := browser.New(s.instance.URL)
		person := browser.Person{Login: clientEmail(n), Password: password}
		return func(ctx context.Context) (time.Duration, error) {
			b.SetCookie("rolecall_session", "") // signed out; what the browser is known by stays
			callback, _, err := b.SignIn(ctx, app.Request("openid tenant:main").URL(), person)
			if err == nil && callback.Query().Get("code") == "" {
				err = fmt.Errorf("no code: %s", callback)
			}
			return 0, err
		}, err
	}}
	if err := s.inTurn(ctx, limit, logins); err != nil {
		return err
	}
	ratio := logins.to(limit)
	s.row("argon2id alone", perSecond(limit.rate())+" /s")
	s.row("sign-ins with a password, from the application's request to its code", perSecond(logins.rate())+" /s, p50 "+milliseconds(logins.percentile(0.5)))
	s.row("sign-ins beside argon2id alone", fmt.Sprintf("%.0f %%", ratio*100), "≥ 70 %", report.verdict(ratio >= 0.70))
	return nil
}

// linked finds what a page has a browser load.
var linked = regexp.MustCompile(`<(?:link|script|img)\b[^>]*\b(?:href|src)="(/[^"]+)"`)

// page counts what the sign-in page has a browser load, as it is sent.
func (s *signing) page(ctx context.Context, report *report) error {
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	get := func(path string) (size int, body string, err error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.instance.URL+path, nil)
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Accept-Encoding", "gzip")
		answer, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close() //nolint:errcheck // it was read to its end
		whole, err := httputil.DumpResponse(answer, true)
		if err != nil || answer.StatusCode != http.StatusOK {
			return 0, "", errors.Join(fmt.Errorf("%s: %s", path, answer.Status), err)
		}
		var content io.Reader = answer.Body
		if answer.Header.Get("Content-Encoding") == "gzip" {
			if content, err = gzip.NewReader(answer.Body); err != nil {
				return 0, "", err
			}
		}
		text, err := io.ReadAll(content)
		return len(whole), string(text), err
	}
	bytes, body, err := get("/login")
	if err != nil {
		return err
	}
	requests := 1
	for _, link := range linked.FindAllStringSubmatch(body, -1) {
		size, _, err := get(link[1])
		if err != nil {
			return err
		}
		bytes, requests = bytes+size, requests+1
	}
	s.row("sign-in page with all that it loads", thousands(bytes)+" bytes", "≤ 40,000", report.verdict(bytes <= 40_000))
	s.row("requests for it", strconv.Itoa(requests), "≤ 4", report.verdict(requests <= 4))
	return nil
}

// pages measures pages that need no hash under a moderate load, each client with
// a pause after each page.
func (s *signing) pages(ctx context.Context, report *report) error {
	b, err := browser.New(s.instance.URL)
	if err != nil {
		return err
	}
	page, err := b.Get(ctx, "/login")
	if err != nil {
		return err
	}
	first := cookieHeader(b)
	if _, err := b.Submit(ctx, page, page.Forms[0], map[string]string{"login": email, "password": password}); err != nil {
		return err
	}
	address := strings.TrimPrefix(s.instance.URL, "http://")
	paced := func(name, address string, sent []byte) *measurement {
		return &measurement{name: name, clients: readers, worker: func(int) (worker, error) {
			w := &wire{address: address}
			return func(ctx context.Context) (time.Duration, error) {
				time.Sleep(readerPause)
				began := time.Now()
				err := w.expect(ctx, sent, http.StatusOK)
				return time.Since(began), err
			}, nil
		}}
	}
	login := paced("/login", address, request(http.MethodGet, address, "/login", "", "Cookie: "+first))
	me := paced("/me", address, request(http.MethodGet, address, "/me", "", "Cookie: "+cookieHeader(b)))
	bare := paced("gin and a small JSON", s.raw.address, request(http.MethodPost, s.raw.address, "/json", ""))
	if err := s.inTurn(ctx, login, bare, me); err != nil {
		return err
	}
	s.row(fmt.Sprintf("%s at %.0f requests a second, which is what this machine does at the moment", bare.name, bare.rate()),
		"p50 "+milliseconds(bare.percentile(0.5))+", p99 "+milliseconds(bare.percentile(0.99)))
	for _, m := range []*measurement{login, me} {
		p99 := m.percentile(0.99)
		s.row(fmt.Sprintf("%s at %.0f requests a second", m.name, m.rate()), "p50 "+milliseconds(m.percentile(0.5))+", p99 "+milliseconds(p99),
			"p99 ≤ 10 ms", report.verdict(p99 <= 10*time.Millisecond))
	}
	return nil
}

func cookieHeader(b *browser.Browser) string {
	var cookies []string
	for name, value := range b.Cookies() {
		cookies = append(cookies, name+"="+value)
	}
	return strings.Join(cookies, "; ")
}

// attempt makes a client that sends a wrong password for an address.
func (s *signing) attempt(cookies string) func(ctx context.Context, w *wire, email string) (int, error) {
	address := strings.TrimPrefix(s.instance.URL, "http://")
	return func(ctx context.Context, w *wire, email string) (int, error) {
		return w.do(ctx, request(http.MethodPost, address, "/login", url.Values{"login": {email}, "password": {"not the right one"}}.Encode(),
			"Content-Type: application/x-www-form-urlencoded", "Cookie: "+cookies))
	}
}

// enumeration measures answers to a wrong password for addresses that somebody
// has and that nobody has, in turn.
func (s *signing) enumeration(ctx context.Context, report *report) error {
	b, err := browser.New(s.instance.URL)
	if err != nil {
		return err
	}
	if _, err := b.Get(ctx, "/login"); err != nil {
		return err
	}
	w := &wire{address: strings.TrimPrefix(s.instance.URL, "http://")}
	attempt := s.attempt(cookieHeader(b))
	var known, unknown []float64
	for n := range 2 * addresses {
		// Which of the two comes first changes, as what is done for one may meet the other.
		who, list := knownEmail(n/2), &known
		if n%4 == 1 || n%4 == 2 {
			who, list = unknownEmail(n), &unknown
		}
		began := time.Now()
		status, err := attempt(ctx, w, who)
		if err == nil && status != http.StatusUnprocessableEntity {
			err = fmt.Errorf("a wrong password: %d %.300s", status, w.body)
		}
		if err != nil {
			return err
		}
		*list = append(*list, time.Since(began).Seconds())
	}
	// Each is compared with the one that was asked about beside it, as the machine drifts.
	ratios := make([]float64, addresses)
	for n := range ratios {
		ratios[n] = known[n] / unknown[n]
	}
	ratio := median(ratios) - 1
	s.row(fmt.Sprintf("wrong password, median of %d each", addresses), fmt.Sprintf("%.2f ms for an address that is known, %.2f ms for one that is not", median(known)*1000, median(unknown)*1000))
	s.row("median of the ratios of those asked about in turn", fmt.Sprintf("%+.1f %%", ratio*100), "within 5 %", report.verdict(ratio <= 0.05 && ratio >= -0.05))
	return nil
}

// flood measures what needs no hash while more passwords come than are computed
// and wait.
func (s *signing) flood(ctx context.Context, report *report) error {
	b, err := browser.New(s.instance.URL)
	if err != nil {
		return err
	}
	if _, err := b.Get(ctx, "/login"); err != nil {
		return err
	}
	address, attempt := strings.TrimPrefix(s.instance.URL, "http://"), s.attempt(cookieHeader(b))
	end := time.Now().Add(floodTime)
	var mu sync.Mutex // guards statuses and failures
	statuses, failures := map[int]int{}, []error(nil)
	var all sync.WaitGroup
	for n := range flooders {
		all.Go(func() {
			w := &wire{address: address}
			defer w.close()
			for typed := 0; time.Now().Before(end); typed++ {
				status, err := attempt(ctx, w, unknownEmail(1000*(n+1)+typed))
				mu.Lock()
				statuses[status]++
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
				if status == http.StatusServiceUnavailable {
					time.Sleep(floodPause)
				}
			}
		})
	}
	var times []float64
	w := &wire{address: address}
	for err == nil && time.Now().Before(end) {
		for _, path := range []string{"/login", "/.well-known/openid-configuration", "/oauth2/keys"} {
			began := time.Now()
			err = errors.Join(err, w.expect(ctx, request(http.MethodGet, address, path, ""), http.StatusOK))
			times = append(times, time.Since(began).Seconds()*1000)
		}
		time.Sleep(probePause)
	}
	all.Wait()
	if err := errors.Join(append(failures, err)...); err != nil {
		return err
	}
	slices.Sort(times)
	resident, err := residentMemory(s.instance.PID())
	if err != nil {
		return err
	}
	p99 := times[len(times)*99/100]
	s.row(fmt.Sprintf("flood of sign-ins by %d clients", flooders), fmt.Sprintf("%s judged, %s answered 503, %.0f MB resident after it",
		thousands(statuses[http.StatusUnprocessableEntity]), thousands(statuses[http.StatusServiceUnavailable]), resident))
	s.row("sign-in page, discovery and keys meanwhile", fmt.Sprintf("p50 %.2f ms, p99 %.2f ms of %d", median(times), p99, len(times)),
		"p99 < 100 ms", report.verdict(p99 < 100))
	return nil
}
