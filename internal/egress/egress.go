// Package egress makes clients for addresses that somebody else chose, such as
// those that a tenant's administrator gives to be told of events.
package egress

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errForbiddenAddress is why a connection is not made.
var errForbiddenAddress = errors.New("the address is not one of the public Internet")

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 64 << 10

// Client returns a client that can't be made to speak to what only this machine
// can reach: it looks at the address after it was resolved, at the moment of the
// connection, follows no redirects and uses no proxy. An exchange takes at most
// timeout. On a developer's machine everything is at a loopback address, and
// allowed.
func Client(timeout time.Duration, developing bool) *http.Client {
	dialer := &net.Dialer{Timeout: timeout}
	if !developing {
		dialer.Control = func(_, address string, _ syscall.RawConn) error { return checkPublic(address) }
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: timeout,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * timeout, MaxResponseHeaderBytes: maxHeader,
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
