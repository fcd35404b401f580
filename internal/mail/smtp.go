package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// smtpTimeout bounds a conversation with the mail server.
const smtpTimeout = 15 * time.Second

// SMTP is a mail server (RFC 5321).
type SMTP struct {
	client *gomail.Client
	from   string
}

// NewSMTP returns the mail server of a URL, smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS
// or smtps://…: by STARTTLS (RFC 3207), or TLS from the start (RFC 8314). Only a
// server on this machine may do without. from is the sender where the URL names none.
func NewSMTP(address, from string) (*SMTP, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("smtp_url: expected smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS or smtps://…")
	}
	options := []gomail.Option{gomail.WithTimeout(smtpTimeout)}
	switch u.Scheme {
	case "smtps":
		options = append(options, gomail.WithSSLPort(false))
	case "smtp":
		policy := gomail.TLSMandatory
		if loopback(u.Hostname()) {
			policy = gomail.TLSOpportunistic
		}
		options = append(options, gomail.WithTLSPortPolicy(policy))
	default:
		return nil, fmt.Errorf("smtp_url: the scheme %q is neither smtp nor smtps", u.Scheme)
	}
	if text := u.Port(); text != "" {
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("smtp_url: the port %q is no number", text)
		}
		options = append(options, gomail.WithPort(port))
	}
	if u.User != nil {
		password, _ := u.User.Password()
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	if named := u.Query().Get("from"); named != "" {
		from = named
	}
	if err := gomail.NewMsg().From(from); err != nil {
		return nil, fmt.Errorf("smtp_url: from: %q is no address", from)
	}
	client, err := gomail.NewClient(u.Hostname(), options...)
	if err != nil {
		return nil, fmt.Errorf("smtp_url: %w", err)
	}
	return &SMTP{client: client, from: from}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && net.IP(ip.AsSlice()).IsLoopback()
}

// Send implements Sender.
func (s *SMTP) Send(ctx context.Context, to string, letter Rendered) error {
	message := gomail.NewMsg()
	if err := errors.Join(message.From(s.from), message.To(to)); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	message.Subject(letter.Subject)
	message.SetBodyString(gomail.TypeTextPlain, letter.Text)
	message.AddAlternativeString(gomail.TypeTextHTML, letter.HTML)
	if logo := letter.Logo; logo != nil {
		err := message.EmbedReader("logo", bytes.NewReader(logo.Content), gomail.WithFileContentID("<"+logoID+">"), gomail.WithFileContentType(gomail.ContentType(logo.Type)))
		if err != nil {
			return fmt.Errorf("mail: %w", err)
		}
	}
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5
	if err := s.client.DialAndSendWithContext(ctx, message); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return nil
}
