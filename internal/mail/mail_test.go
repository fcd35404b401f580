package mail_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/rolecall/rolecall/internal/language"
	"github.com/rolecall/rolecall/internal/mail"
)

// server is a mail server on loopback that keeps what it is given.
type server struct {
	mu      sync.Mutex
	refuses bool
	to      []string
	data    []string
}

func (s *server) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{s}, nil }

type session struct{ *server }

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, string(content))
	return err
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

func start(t *testing.T) (*server, string) {
	t.Helper()
	backend := &server{}
	serving := smtp.NewServer(backend)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = serving.Serve(listener) }()
	t.Cleanup(func() { _ = serving.Close() })
	return backend, "smtp://" + listener.Addr().String()
}

func render(t *testing.T, l mail.Letter) mail.Rendered {
	t.Helper()
	renderer, err := mail.NewRenderer("en")
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := renderer.Render(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func TestLetterOverSMTP(t *testing.T) {
	t.Parallel()
	got, address := start(t)
	sender, err := mail.NewSMTP(address, "rolecall@id.example")
	if err != nil {
		t.Fatal(err)
	}
	letter := render(t, mail.Letter{
		Kind: mail.PasswordReset, Name: "Ann Berg", Link: "https://id.example/login/reset?token=abc", Args: []string{"30"},
	})
	if err := sender.Send(t.Context(), "ann@berlin.example", letter); err != nil {
		t.Fatal(err)
	}
	if len(got.data) != 1 || len(got.to) != 1 || got.to[0] != "ann@berlin.example" {
		t.Fatalf("the server has %d letters, to %v", len(got.data), got.to)
	}
	plain, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(got.data[0])))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"From: <rolecall@id.example>", "To: <ann@berlin.example>", "Subject: Choose a new password", "Auto-Submitted: auto-generated",
		"multipart/alternative", "text/plain", "text/html", "Hello Ann Berg,", "for 30 minutes", "https://id.example/login/reset?token=abc",
	} {
		if !strings.Contains(string(plain), want) {
			t.Errorf("the letter lacks %q:\n%s", want, plain)
		}
	}
	got.refuses = true
	if err := sender.Send(t.Context(), "nobody@berlin.example", letter); err == nil {
		t.Error("a letter that the server refused counts as sent")
	}
	if err := sender.Send(t.Context(), "ann@berlin.example\r\nBcc: eve@evil.example", letter); err == nil {
		t.Error("an address of two lines was taken")
	}
}

// Nobody writes a letter of his own by what he calls himself.
func TestLettersKeepTheirShape(t *testing.T) {
	t.Parallel()
	letter := render(t, mail.Letter{
		Kind: mail.Invitation, Name: "Ann\r\nBcc: eve@evil.example", Link: "https://id.example/x",
		Args: []string{"Berlin\nSubject: x", `<script>alert(1)</script>`, "168"},
	})
	if strings.ContainsAny(letter.Subject, "\r\n") || !strings.Contains(letter.Subject, "Berlin Subject: x") {
		t.Errorf("the subject is %q", letter.Subject)
	}
	if strings.Contains(letter.HTML, "<script>") || !strings.Contains(letter.HTML, "&lt;script&gt;") {
		t.Errorf("the page is not escaped: %s", letter.HTML)
	}
	if strings.Contains(letter.Text, "\nBcc:") {
		t.Errorf("the text has a line of the name's: %s", letter.Text)
	}
}

// A letter of a tenant's has the tenant's colors, and nothing else of a look.
func TestLettersLookLikeTheTenant(t *testing.T) {
	t.Parallel()
	letter := mail.Letter{Kind: mail.Invitation, Link: "https://id.example/x", Args: []string{"Berlin", "Ann", "168"}}
	plain := render(t, letter).HTML
	for _, color := range []string{"background:#4453c7;color:#ffffff", "background:#f4f5f9"} {
		if !strings.Contains(plain, color) {
			t.Errorf("a letter without a look lacks %s", color)
		}
	}
	letter.Look = mail.Look{Accent: "#ffd400", OnAccent: "#000000", Ground: "#fff8ee"}
	worn := render(t, letter).HTML
	for _, color := range []string{"background:#ffd400;color:#000000", "background:#fff8ee"} {
		if !strings.Contains(worn, color) {
			t.Errorf("the letter lacks %s: %s", color, worn)
		}
	}
	letter.Look = mail.Look{Accent: `red;position:fixed`, Ground: `"><script>`}
	if hostile := render(t, letter).HTML; strings.Contains(hostile, "position:fixed") || strings.Contains(hostile, "<script>") {
		t.Errorf("a look says more than colors: %s", hostile)
	}
}

// picture is a PNG of that many pixels.
func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	var content bytes.Buffer
	if err := png.Encode(&content, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return content.Bytes()
}

// The logo of a tenant is a part of the letter (RFC 2387, RFC 2392): to show it,
// nothing is fetched.
func TestLettersHaveTheTenantsLogo(t *testing.T) {
	t.Parallel()
	renderer, err := mail.NewRenderer("en")
	if err != nil {
		t.Fatal(err)
	}
	letter := mail.Letter{Kind: mail.Invitation, Link: "https://id.example/x", Args: []string{"Berlin", "Ann", "168"}}
	for name, c := range map[string]struct {
		width, height int
		want          string
	}{
		"small":     {64, 32, `width="64" height="32"`},
		"high":      {100, 400, `width="10" height="40"`},
		"wide":      {1000, 100, `width="192" height="19"`},
		"a line":    {1024, 1, `width="192" height="1"`},
		"a stroke":  {1, 1024, `width="1" height="40"`},
		"as it may": {192, 40, `width="192" height="40"`},
	} {
		rendered, err := renderer.Render(letter, &mail.Logo{Of: "Berlin\n\"><b>", Type: "image/png", Content: picture(t, c.width, c.height)})
		if err != nil {
			t.Fatal(err)
		}
		if want := `<img src="cid:logo@rolecall" alt="Berlin &#34;&gt;&lt;b&gt;" ` + c.want; !strings.Contains(rendered.HTML, want) {
			t.Errorf("%s: there is no %s in %s", name, want, rendered.HTML)
		}
	}
	if plain := render(t, letter); strings.Contains(plain.HTML, "<img") || plain.Logo != nil {
		t.Errorf("without a logo: %s", plain.HTML)
	}
	broken, err := renderer.Render(letter, &mail.Logo{Of: "Berlin", Type: "image/png", Content: []byte("no picture")})
	if err != nil || broken.Logo != nil || strings.Contains(broken.HTML, "<img") {
		t.Errorf("a logo that can't be read: %v %+v", err, broken)
	}

	got, address := start(t)
	sender, err := mail.NewSMTP(address, "rolecall@id.example")
	if err != nil {
		t.Fatal(err)
	}
	logo := picture(t, 64, 32)
	rendered, err := renderer.Render(letter, &mail.Logo{Of: "Berlin", Type: "image/png", Content: logo})
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), "ann@berlin.example", rendered); err != nil {
		t.Fatal(err)
	}
	message, err := netmail.ReadMessage(strings.NewReader(got.data[0]))
	if err != nil {
		t.Fatal(err)
	}
	media, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil || media != "multipart/related" {
		t.Fatalf("the letter is %s, %v", media, err)
	}
	var types []string
	for parts := multipart.NewReader(message.Body, parameters["boundary"]); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		of, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if types = append(types, of); of != "image/png" {
			continue
		}
		content, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil || !bytes.Equal(content, logo) || part.Header.Get("Content-Id") != "<logo@rolecall>" || !strings.HasPrefix(part.Header.Get("Content-Disposition"), "inline") {
			t.Errorf("the logo is a part of %d bytes, %v, %v", len(content), part.Header, err)
		}
	}
	if want := []string{"multipart/alternative", "image/png"}; !slices.Equal(types, want) {
		t.Errorf("the letter has %v, want %v", types, want)
	}
	if addresses := regexp.MustCompile(`src="[^"]*"`).FindAllString(rendered.HTML, -1); !slices.Equal(addresses, []string{`src="cid:logo@rolecall"`}) {
		t.Errorf("the letter fetches %v", addresses)
	}
}

func TestEveryKindHasWords(t *testing.T) {
	t.Parallel()
	for kind, l := range map[mail.Kind]mail.Letter{
		mail.PasswordReset:     {Link: "https://id.example/x", Args: []string{"30"}},
		mail.PasswordChanged:   {Args: []string{"https://id.example"}},
		mail.FactorsChanged:    {Args: []string{"https://id.example"}},
		mail.RecoveryCodeUsed:  {Args: []string{"9"}},
		mail.AccountClosed:     {Args: []string{"https://id.example", "5"}},
		mail.NewBrowser:        {Args: []string{"https://id.example", "Firefox, Linux", "192.0.2.7", "2026-11-22 09:00 UTC"}},
		mail.BrowserTrusted:    {Args: []string{"https://id.example", "Firefox, Linux", "192.0.2.7", "30"}},
		mail.SignInCode:        {Args: []string{"https://id.example", "123456", "5"}},
		mail.Invitation:        {Link: "https://id.example/x", Args: []string{"Berlin", "Olive", "168"}},
		mail.InvitationAccount: {Link: "https://id.example/x", Args: []string{"Berlin", "Olive", "168"}},

		mail.SignInInstructions:        {Link: "https://id.example/x", Args: []string{"Berlin", "ann@berlin.example", "Kbt4-Rwm7"}},
		mail.SignInInstructionsAccount: {Link: "https://id.example/x", Args: []string{"Berlin", "ann@berlin.example", ""}},
		mail.SignInInstructionsCopy:    {Args: []string{"Berlin", "ann@berlin.example", "olive@berlin.example"}},
	} {
		l.Kind = kind
		for _, spoken := range language.All() {
			l.Language = spoken.Tag
			letter := render(t, l)
			for _, text := range []string{letter.Subject, letter.Text} {
				if text == "" || strings.ContainsAny(text, "{}%") {
					t.Errorf("%s in %s: %q", kind, spoken.Tag, text)
				}
			}
			if !strings.Contains(letter.HTML, `<html lang="`+spoken.Tag+`">`) {
				t.Errorf("%s in %s does not say its language", kind, spoken.Tag)
			}
		}
	}
	renderer, err := mail.NewRenderer("en")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := renderer.Render(mail.Letter{Kind: "unknown"}, nil); err == nil {
		t.Error("a letter without words was written")
	}
}

// Every language has the words that English has, no others, and fills in the same.
func TestLanguagesHaveTheSameWords(t *testing.T) {
	t.Parallel()
	words := map[string]map[string]string{}
	for _, l := range language.All() {
		content, err := os.ReadFile("locales/" + l.Tag + ".json")
		if err != nil {
			t.Fatal(err)
		}
		of := map[string]string{}
		if err := json.Unmarshal(content, &of); err != nil {
			t.Fatal(err)
		}
		words[l.Tag] = of
	}
	blanks := func(text string) []string {
		found := regexp.MustCompile(`\{\d\}`).FindAllString(text, -1)
		slices.Sort(found)
		return found
	}
	english := words[language.Default]
	for tag, of := range words {
		for key, text := range english {
			if of[key] == "" {
				t.Errorf("%s lacks %s", tag, key)
			} else if want, got := blanks(text), blanks(of[key]); !slices.Equal(want, got) {
				t.Errorf("%s: %s fills in %q, want %q", tag, key, got, want)
			}
		}
		for key := range of {
			if english[key] == "" {
				t.Errorf("%s has %s, which no letter says", tag, key)
			}
		}
	}
}

func TestLettersInTheLanguageOfThePerson(t *testing.T) {
	t.Parallel()
	for wanted, want := range map[string]string{"": "Choose", "de-AT": "Neues", "fr": "Choisissez", "es-MX": "Elija", "ja": "Choose"} {
		letter := render(t, mail.Letter{Kind: mail.PasswordReset, Link: "https://id.example/x", Args: []string{"30"}, Language: wanted})
		if !strings.HasPrefix(letter.Subject, want) {
			t.Errorf("to somebody who wants %q: %q", wanted, letter.Subject)
		}
	}
}

func TestSMTPURL(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "mail.example", "http://mail.example", "smtp://", "smtp://mail.example:x", "smtp://mail.example?from=nobody"} {
		if _, err := mail.NewSMTP(address, "rolecall@id.example"); err == nil {
			t.Errorf("%q was accepted", address)
		} else if errors.Unwrap(err) == nil && !strings.Contains(err.Error(), "smtp_url") {
			t.Errorf("%q: %v does not name the setting", address, err)
		}
	}
	for _, address := range []string{"smtp://mail.example", "smtps://ann:secret@mail.example:465?from=id%40mail.example"} {
		if _, err := mail.NewSMTP(address, "rolecall@id.example"); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}
