// Package browser is a browser without JavaScript: it keeps cookies, follows
// redirects within one origin, and fills in forms as a person would, by what
// their fields are named and what their buttons say.
package browser

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// A Browser holds the cookies of one person at one server.
type Browser struct {
	origin *url.URL
	jar    *cookiejar.Jar
	client *http.Client
}

// New returns a browser that has seen nothing yet. It stays at the origin:
// where a redirect leads elsewhere, the page says where.
func New(origin string) (*Browser, error) {
	home, err := url.Parse(origin)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	b := &Browser{origin: home, jar: jar}
	b.client = &http.Client{
		Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Host != home.Host || next.URL.Scheme != home.Scheme {
				return http.ErrUseLastResponse
			}
			if len(via) > 15 {
				return fmt.Errorf("redirected in circles, at %s", next.URL)
			}
			return nil
		},
	}
	return b, nil
}

// Trust has the browser accept servers whose certificates are of the pool.
func (b *Browser) Trust(pool *x509.CertPool) {
	b.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
}

// Cookies returns the cookies that the server has set, by name.
func (b *Browser) Cookies() map[string]string {
	values := map[string]string{}
	for _, cookie := range b.jar.Cookies(b.origin) {
		values[cookie.Name] = cookie.Value
	}
	return values
}

// SetCookie puts a cookie in as if the server had set it.
func (b *Browser) SetCookie(name, value string) {
	b.jar.SetCookies(b.origin, []*http.Cookie{{Name: name, Value: value, Path: "/"}}) //nolint:gosec // attributes are for browsers with more than one origin
}

// A Page is what a request ended at.
type Page struct {
	URL    *url.URL
	Status int
	Header http.Header
	Body   string
	Forms  []Form
	// Left is where the last redirect leads outside of the origin, or a form which
	// sends itself there; else nil.
	Left *url.URL
	// Posted is what such a form sends; nil for a redirect.
	Posted url.Values
}

// Get opens an address of the origin; a path is enough.
func (b *Browser) Get(ctx context.Context, address string) (*Page, error) {
	target, err := b.origin.Parse(address)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Sec-Fetch-Site", "none")
	return b.open(request)
}

// Submit sends a form of a page: what it holds, with values laid over it. Of
// its buttons only one that values name is pressed.
func (b *Browser) Submit(ctx context.Context, page *Page, form Form, values map[string]string) (*Page, error) {
	action, err := page.URL.Parse(form.Action)
	if err != nil {
		return nil, err
	}
	fields := form.preset()
	for name, value := range values {
		fields.Set(name, value)
	}
	if form.Method != http.MethodPost {
		action.RawQuery = fields.Encode()
		return b.Get(ctx, action.String())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", b.origin.String())
	request.Header.Set("Referer", page.URL.String())
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.open(request)
}

func (b *Browser) open(request *http.Request) (*Page, error) {
	request.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	request.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	response, err := b.client.Do(request)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	page := &Page{URL: response.Request.URL, Status: response.StatusCode, Header: response.Header, Body: string(content)}
	if location := response.Header.Get("Location"); location != "" && response.StatusCode/100 == 3 {
		if page.Left, err = page.URL.Parse(location); err != nil {
			return nil, fmt.Errorf("redirected to no address: %w", err)
		}
		return page, nil
	}
	if page.Forms, err = parseForms(page.Body); err != nil {
		return nil, err
	}
	for i := range page.Forms {
		action, err := page.URL.Parse(page.Forms[i].Action)
		if err != nil {
			return nil, fmt.Errorf("a form leads to no address: %w", err)
		}
		if action.Host != b.origin.Host || action.Scheme != b.origin.Scheme {
			page.Left, page.Posted = action, page.Forms[i].preset()
		}
	}
	return page, nil
}

// A Person is what someone types and chooses when signing in.
type Person struct {
	Login    string
	Password string
	Tenant   string // slug or name of the tenant to choose, if asked
}

// ErrStuck reports a page that a sign-in doesn't get past.
var ErrStuck = errors.New("the sign-in does not go on")

// SignIn opens an authorization request and does what the pages ask until the
// browser is sent to the application. It returns that address. Where the pages
// don't go on, as after a wrong password, it fails with [ErrStuck] and returns
// the page.
func (b *Browser) SignIn(ctx context.Context, address string, person Person) (callback *url.URL, page *Page, err error) {
	if page, err = b.Get(ctx, address); err != nil {
		return nil, nil, err
	}
	return b.Proceed(ctx, page, person)
}

// Proceed is SignIn from a page that was opened before.
func (b *Browser) Proceed(ctx context.Context, page *Page, person Person) (callback *url.URL, last *Page, err error) {
	tried := map[string]bool{}
	for err == nil {
		if page.Left != nil {
			return page.Left, page, nil
		}
		form, values := person.answer(page)
		if form == nil {
			return nil, page, fmt.Errorf("%w at %s (%d): %s", ErrStuck, page.URL, page.Status, page.Text())
		}
		// The same form a second time means that the answer was refused.
		step := strings.Join(form.names(), " ")
		if tried[step] {
			return nil, page, fmt.Errorf("%w at %s (%d): %s", ErrStuck, page.URL, page.Status, page.Text())
		}
		tried[step] = true
		page, err = b.Submit(ctx, page, *form, values)
	}
	return nil, page, err
}

// answer picks the form of a page and what the person puts in.
func (p Person) answer(page *Page) (*Form, map[string]string) {
	for i := range page.Forms {
		form := &page.Forms[i]
		switch {
		case form.Has("password"):
			values := map[string]string{"password": p.Password}
			if form.Has("login") {
				values["login"] = p.Login
			}
			return form, values
		case form.Has("login"):
			return form, map[string]string{"login": p.Login}
		case form.Has("consent"):
			return form, map[string]string{"consent": "allow"}
		case form.Has("tenant"):
			if value, ok := form.Choice("tenant", p.Tenant); ok {
				return form, map[string]string{"tenant": value}
			}
		}
	}
	return nil, nil
}
