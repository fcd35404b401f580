package authn

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/mail"
	"github.com/rolecall/rolecall/internal/secret"
)

// A TrustedDevice is a browser in which a person has asked not to be asked for
// the second factor again. It never stands in for the first one, and a tenant
// decides for how long it believes it (TrustedAt).
type TrustedDevice struct {
	ID        id.TrustedDevice
	User      id.User
	UserAgent string
	Address   string // where it was used last
	TrustedAt time.Time
	LastUsed  time.Time
	Expires   time.Time
	ByMail    bool // it was a code by mail that the person trusted it with
}

// DeviceStore keeps trusted devices, of which it has the cookies' hashes only.
type DeviceStore interface {
	CreateTrustedDevice(ctx context.Context, d *TrustedDevice, token secret.Hash) error
	// TrustedDevice returns the user's device that has the cookie, and fails with
	// fault.NotFound where it is another's, is removed or has expired at now.
	TrustedDevice(ctx context.Context, user id.User, token secret.Hash, now time.Time) (*TrustedDevice, error)
	// RenewTrustedDevice stores a used device with another cookie. It fails with
	// fault.NotFound where it no longer has the old one: of several callers one
	// succeeds.
	RenewTrustedDevice(ctx context.Context, d *TrustedDevice, old, next secret.Hash) error
	// TrustedDevices returns those that have not expired at now, the last used first.
	TrustedDevices(ctx context.Context, user id.User, now time.Time) ([]TrustedDevice, error)
	// DeleteTrustedDevices removes the user's device, or all where device is
	// empty, and returns how many went.
	DeleteTrustedDevices(ctx context.Context, user id.User, device id.TrustedDevice) (int, error)
}

// TrustedDevices returns the browsers in which the user is not asked for a
// second factor, the last used first.
func (a *Authn) TrustedDevices(ctx context.Context, user id.User) ([]TrustedDevice, error) {
	return a.store.TrustedDevices(ctx, user, a.now())
}

// RemoveTrustedDevice makes the user be asked for the second factor again in one
// browser. Sessions that relied on it no longer can. It fails with
// fault.NotFound where the user has no such device.
func (a *Authn) RemoveTrustedDevice(ctx context.Context, user id.User, device id.TrustedDevice) error {
	return a.store.InTx(ctx, func(ctx context.Context) error {
		removed, err := a.store.DeleteTrustedDevices(ctx, user, device)
		if err != nil {
			return err
		}
		if removed == 0 || device == "" {
			return fault.New(fault.NotFound, "there is no such trusted device")
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "trusted_device.remove", "trusted_device", string(device),
			map[string]any{"user": user}))
	})
}

// RemoveTrustedDevices makes the user be asked for the second factor again in
// every browser. reason is for the audit trail.
func (a *Authn) RemoveTrustedDevices(ctx context.Context, user id.User, reason string) error {
	return a.store.InTx(ctx, func(ctx context.Context) error {
		removed, err := a.store.DeleteTrustedDevices(ctx, user, "")
		if err != nil || removed == 0 {
			return err
		}
		return a.store.AppendEvent(ctx, audit.New(ctx, a.now(), "", "trusted_device.remove_all", "user", string(user),
			map[string]any{"reason": reason, "devices": removed}))
	})
}

// trustDevice makes the browser of a completed sign-in a trusted one, in the
// transaction in ctx.
func (a *Authn) trustDevice(ctx context.Context, login *Login, way Way, client Client) error {
	now, cookie := a.now(), secret.Random("")
	device := &TrustedDevice{
		ID: id.New[id.TrustedDevice](), User: login.User, UserAgent: client.userAgent(), Address: client.Address,
		TrustedAt: now, LastUsed: now, Expires: now.Add(login.TrustFor), ByMail: way == WayMail,
	}
	if err := a.store.CreateTrustedDevice(ctx, device, cookie.Hash()); err != nil {
		return err
	}
	login.device, login.DeviceCookie, login.DeviceExpires = device.ID, cookie, device.Expires
	days := strconv.Itoa(int(login.TrustFor / (24 * time.Hour)))
	if err := a.tell(ctx, login.User, mail.BrowserTrusted, a.publicURL, client.name(), client.Address, days); err != nil {
		return err
	}
	return a.store.AppendEvent(ctx, audit.New(ctx, now, "", "trusted_device.add", "trusted_device", string(device.ID),
		map[string]any{"user": login.User, "address": client.Address, "user_agent": device.UserAgent}))
}

// recognize reports whether the browser is one that the login's person trusts,
// and gives it a new cookie: one that was copied works until its owner signs in
// again at the most. It runs in the transaction in ctx.
func (a *Authn) recognize(ctx context.Context, login *Login, client Client) (bool, error) {
	if client.Device.Empty() || login.Request.Fresh || login.TrustFor <= 0 {
		return false, nil
	}
	now := a.now()
	device, err := a.store.TrustedDevice(ctx, login.User, client.Device.Hash(), now)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if expires := device.TrustedAt.Add(login.TrustFor); expires.Before(device.Expires) {
		device.Expires = expires // the policy has become stricter
	}
	if !device.Expires.After(now) || device.ByMail && !login.Mail {
		return false, nil
	}
	cookie := secret.Random("")
	device.LastUsed, device.Address, device.UserAgent = now, client.Address, client.userAgent()
	err = a.store.RenewTrustedDevice(ctx, device, client.Device.Hash(), cookie.Hash())
	if errors.Is(err, fault.NotFound) {
		return false, nil // used at this very moment: one of the two is asked
	}
	if err != nil {
		return false, err
	}
	login.device, login.DeviceCookie, login.DeviceExpires = device.ID, cookie, device.Expires
	return true, nil
}
