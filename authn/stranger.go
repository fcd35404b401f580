package authn

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
)

// A typedAddress is the payload of a delivery to an address that a stranger typed.
// It may be somebody's or nobody's, or what was meant for another field.
type typedAddress struct {
	Tenant   id.Tenant `json:"tenant,omitempty"`   // whose page it was typed on
	Address  []byte    `json:"address"`            // sealed
	Language string    `json:"language,omitempty"` // of that page

	// Request is the application's that led there, if one did.
	Request id.AuthorizationRequest `json:"request,omitempty"`
}

// parseAddress returns the address that was typed into a field. It fails with
// fault.Invalid and that field.
func parseAddress(field, text string) (string, error) {
	email, ok := directory.ParseEmail(strings.TrimSpace(text))
	if !ok {
		return "", fault.Field(fault.Invalid, field, "enter an e-mail address such as name@example.com")
	}
	return email, nil
}

// writeLater has an address written to that a stranger typed into a field, by the
// handler of that kind of deliveries. It does the same work and says the same
// whether the address is anybody's or not: that is found out later. It fails with
// fault.Invalid and the field, and with fault.Throttled.
func (a *Authn) writeLater(ctx context.Context, kind outbox.Kind, field, text string, to typedAddress, client Client) error {
	email, err := parseAddress(field, text)
	if err != nil {
		return err
	}
	if err := a.try(ctx, attemptKey(string(kind), directory.Fold(email)), a.limits.Resets); err != nil {
		return err
	}
	if err := a.try(ctx, attemptKey(string(kind)+"-from", client.Address), a.limits.ResetsFrom); err != nil {
		return err
	}
	now := a.now()
	delivery := outbox.Delivery{ID: id.New[id.Delivery](), Kind: kind, Due: now, Created: now}
	to.Language = client.Language
	if to.Address, err = a.keyring.Seal([]byte(email), placeOfAddress(delivery.ID)); err != nil {
		return err
	}
	if delivery.Payload, err = json.Marshal(to); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return a.store.AppendDelivery(ctx, delivery)
}

// typed returns what is in a delivery of writeLater's, with the address in the
// clear.
func (a *Authn) typed(d outbox.Delivery) (email string, to typedAddress, err error) {
	if err := json.Unmarshal(d.Payload, &to); err != nil {
		return "", to, fmt.Errorf("%s: %w", d.Kind, err)
	}
	plain, err := a.keyring.Open(to.Address, placeOfAddress(d.ID))
	return string(plain), to, err
}

func placeOfAddress(d id.Delivery) string { return "outbox/address/" + string(d) }
