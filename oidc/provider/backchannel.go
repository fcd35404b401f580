package provider

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/rolecall/rolecall/internal/outbox"
)

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

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
