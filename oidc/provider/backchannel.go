package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"github.com/rolecall/rolecall/internal/outbox"
)

var errForbiddenAddress = errors.New("the address is not one of the public Internet")

// Deliver posts the logout token that a delivery of kind
// outbox.BackchannelLogout stands for (OIDC Back-Channel Logout 1.0 §2.5). An
// error means that it is to be tried again.
func (p *Provider) Deliver(ctx context.Context, d outbox.Delivery) error {
	address, token, err := p.oidc.LogoutToken(ctx, d)
	if err != nil || address == "" {
		return err
	}
	body := strings.NewReader(url.Values{"logout_token": {token}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return fmt.Errorf("back-channel logout: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := p.backchannel.Do(request)
	if err != nil {
		return fmt.Errorf("back-channel logout: %w", err)
	}
	defer func() { _ = response.Body.Close() }()        // nothing is read from it
	_, _ = io.CopyN(io.Discard, response.Body, maxBody) // so that the connection can be used again
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("back-channel logout: the application answered %d", response.StatusCode)
	}
	return nil
}

// backchannelClient returns a client that can't be made to speak to what only
// this machine can reach: it looks at the address after it was resolved, at the
// moment of the connection, follows no redirects and uses no proxy. On a
// developer's machine everything is at a loopback address, and allowed.
func backchannelClient(developing bool) *http.Client {
	dialer := &net.Dialer{Timeout: backchannelExpiry}
	if !developing {
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return checkPublic(address) }
	}
	return &http.Client{
		Timeout: backchannelExpiry,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: backchannelExpiry,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * backchannelExpiry, MaxResponseHeaderBytes: maxBody,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkPublic fails for an address and port that are not of the public Internet
// (RFC 6890).
func checkPublic(address string) error {
	endpoint, err := netip.ParseAddrPort(address)
	if err != nil {
		return errForbiddenAddress
	}
	ip := endpoint.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || reserved(ip) {
		return errForbiddenAddress
	}
	return nil
}

// reserved reports whether ip is of a special-purpose range that netip has no
// question for (RFC 6598, RFC 6890, RFC 6052, RFC 3056).
func reserved(ip netip.Addr) bool {
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
	} {
		if netip.MustParsePrefix(text).Contains(ip) {
			return true
		}
	}
	return false
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
