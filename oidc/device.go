package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/rolecall/rolecall/authn"
	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/audit"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// GrantDeviceCode is the grant type of a device that waits (RFC 8628 §3.4).
const GrantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"

// Times of the device flow (RFC 8628 §3.2, §3.5).
const (
	DeviceCodeLifetime = 10 * time.Minute
	DeviceInterval     = 5 * time.Second // between two polls; a poll that comes too soon adds as much
)

const deviceCodePrefix = "rcdc_"

// User codes have eight letters of twenty: no vowels, so that they spell nothing,
// and no digits (RFC 8628 §6.1). They are 34 bits.
const (
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength  = 8
)

// DeviceStatus says what has become of a device's request.
type DeviceStatus string

// The statuses of a device's request.
const (
	DevicePending  DeviceStatus = "pending"
	DeviceAllowed  DeviceStatus = "allowed"
	DeviceDenied   DeviceStatus = "denied"
	DeviceRedeemed DeviceStatus = "redeemed" // it has its tokens
)

// A DeviceRequest is what a device without a browser asks for (RFC 8628 §3.1), kept
// until somebody has answered it in theirs and the device has heard of it.
type DeviceRequest struct {
	ID         id.DeviceRequest
	Hash       secret.Hash // of the device code
	UserCode   secret.Hash // see OIDC.hashUserCode
	ClientID   string
	Scopes     []string
	TenantName string   // slug or id of the scope "tenant:…"
	Resources  []string // for which its tokens are to be (RFC 8707); none: this server
	Details    Details  // RFC 9396 §3
	Address    string   // whence the device asked
	UserAgent  string   // by its own word
	Status     DeviceStatus
	Tenant     id.Tenant     // of Grant
	Grant      id.Grant      // empty unless it was allowed
	Interval   time.Duration // that the device has to leave between two polls
	Polled     time.Time     // zero: never yet
	Created    time.Time
	Expires    time.Time
}

// DeviceStore keeps what devices ask for.
type DeviceStore interface {
	// CreateDeviceRequest fails with fault.Conflict where another has the user code.
	CreateDeviceRequest(ctx context.Context, r *DeviceRequest) error
	// DeviceRequest returns one that waits for an answer at now.
	DeviceRequest(ctx context.Context, request id.DeviceRequest, now time.Time) (*DeviceRequest, error)
	// DeviceRequestByUserCode does the same by the user code.
	DeviceRequestByUserCode(ctx context.Context, code secret.Hash, now time.Time) (*DeviceRequest, error)
	// AnswerDeviceRequest stores the answer to one that waits for it at now, with
	// the grant, which is empty where it is denied. Of several callers one succeeds;
	// the others get fault.NotFound.
	AnswerDeviceRequest(ctx context.Context, request id.DeviceRequest, status DeviceStatus, tenant id.Tenant, grant id.Grant, now time.Time) error
	// UpdateDeviceRequest loads the application's request by the device code under
	// a lock, lets poll see it and change Status, Interval and Polled, and stores
	// these. It fails with fault.NotFound.
	UpdateDeviceRequest(ctx context.Context, code secret.Hash, clientID string, poll func(*DeviceRequest) error) error
}

// DeviceCodes are the answer to a device (RFC 8628 §3.2).
type DeviceCodes struct {
	Device    secret.Text
	User      string // as people are shown it
	ExpiresIn time.Duration
	Interval  time.Duration
}

// BeginDevice takes a device's request for scopes, resources and authorization
// details. Whence it comes and userAgent are shown to whoever is asked. It fails with
// unauthorized_client, invalid_scope, invalid_target and
// invalid_authorization_details.
func (o *OIDC) BeginDevice(ctx context.Context, a *Application, scope string, terms Terms, userAgent string) (*DeviceCodes, error) {
	if a.Type != Device {
		return nil, refuse(UnauthorizedClient, "only applications of type device use the device flow")
	}
	scopes, tenant, err := ParseScope(scope)
	if err != nil {
		return nil, err
	}
	details, err := o.Details(ctx, a, terms.Details)
	if err != nil {
		return nil, err
	}
	if len(scopes) == 0 && len(details) == 0 {
		return nil, refuse(InvalidScope, "the scope must contain openid or another scope of this server")
	}
	if err := o.CheckResources(a, terms.Resources); err != nil {
		return nil, err
	}
	address := ""
	if terms.From.IsValid() {
		address = terms.From.String()
	}
	now, device := o.now(), secret.Random(deviceCodePrefix)
	for {
		user := newUserCode()
		err := o.store.CreateDeviceRequest(ctx, &DeviceRequest{
			ID: id.New[id.DeviceRequest](), Hash: device.Hash(), UserCode: o.hashUserCode(user), ClientID: a.ClientID, Scopes: scopes, TenantName: tenant,
			Resources: o.targets(terms.Resources, scopes, details), Details: details,
			Address: address, UserAgent: shortened(userAgent), Status: DevicePending, Interval: DeviceInterval, Created: now, Expires: now.Add(DeviceCodeLifetime),
		})
		if errors.Is(err, fault.Conflict) {
			continue // somebody else has that code
		}
		if err != nil {
			return nil, err
		}
		return &DeviceCodes{Device: device, User: user[:userCodeLength/2] + "-" + user[userCodeLength/2:], ExpiresIn: DeviceCodeLifetime, Interval: DeviceInterval}, nil
	}
}

// maxUserAgent bounds what is kept of a device's word about itself, in bytes.
const maxUserAgent = 200

func shortened(userAgent string) string {
	return strings.ToValidUTF8(userAgent[:min(len(userAgent), maxUserAgent)], "")
}

// newUserCode returns eight letters, each as likely as any other.
func newUserCode() string {
	const fair = 256 - 256%len(userCodeLetters)
	var code []byte
	for len(code) < userCodeLength {
		var random [2 * userCodeLength]byte
		_, _ = rand.Read(random[:]) // never fails
		for _, b := range random {
			if int(b) < fair && len(code) < userCodeLength {
				code = append(code, userCodeLetters[int(b)%len(userCodeLetters)])
			}
		}
	}
	return string(code)
}

// parseUserCode returns the code in what somebody typed, in whatever case and with
// whatever between the letters (RFC 8628 §6.1); ok is false where there is none.
func parseUserCode(typed string) (code string, ok bool) {
	code = strings.Map(func(r rune) rune {
		if strings.ContainsRune(userCodeLetters, r) {
			return r
		}
		return -1
	}, strings.ToUpper(typed))
	return code, len(code) == userCodeLength
}

// hashUserCode is what is stored of a user code: an HMAC under a key that is not in
// the database, because a code by itself is short enough to be found by trying.
func (o *OIDC) hashUserCode(code string) secret.Hash {
	mac := hmac.New(sha256.New, o.userCodeKey[:])
	mac.Write([]byte(code))
	return secret.Hash(mac.Sum(nil))
}

// EnterUserCode begins the sign-in of the person who has typed a device's code
// into this browser, and returns it as a request that Next says more about. That
// nothing is allowed by it is a rule: the person is asked (RFC 8628 §5.4). It fails
// with fault.Invalid and the field user_code, in the same way for every reason, and
// with fault.Throttled.
func (o *OIDC) EnterUserCode(ctx context.Context, typed string, browser secret.Text, client authn.Client) (*AuthorizationRequest, error) {
	unknown := fault.Field(fault.Invalid, "user_code", "no device waits with this code")
	code, ok := parseUserCode(typed)
	if !ok {
		return nil, unknown
	}
	if err := o.authn.TryUserCode(ctx, client); err != nil {
		return nil, err
	}
	device, err := o.store.DeviceRequestByUserCode(ctx, o.hashUserCode(code), o.now())
	if errors.Is(err, fault.NotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	if err := o.authn.UserCodeFits(ctx, client); err != nil {
		return nil, err
	}
	r := o.NewRequest(device.ClientID, browser, Parameters{Scopes: device.Scopes, TenantName: device.TenantName, Resources: device.Resources, Details: device.Details, Device: device.ID})
	r.Expires = device.Expires
	return r, o.store.CreateAuthorizationRequest(ctx, r)
}

// A DeviceQuestion is what a person is asked before a device gets anything.
type DeviceQuestion struct {
	Application *Application
	Device      *DeviceRequest
	Standing    *directory.Standing // in the tenant that the device would sign in to
	Scopes      []string
	Details     Details
	// Confirmation is what the answer has to bring, as of AskedConsent.
	Confirmation secret.Text
}

// DeviceQuestion returns what to ask the person of the session. It fails with
// fault.Stale where the request waits for something else first, which Next tells,
// and with fault.NotFound where the device does not wait any more.
func (o *OIDC) DeviceQuestion(ctx context.Context, r *AuthorizationRequest, session *authn.Session) (*DeviceQuestion, error) {
	step, standing, err := o.evaluate(ctx, r, session)
	if err != nil {
		return nil, err
	}
	if step != StepDone {
		return nil, errSignInAgain()
	}
	device, err := o.store.DeviceRequest(ctx, r.Device, o.now())
	if err != nil {
		return nil, err
	}
	application, err := o.Application(ctx, r.ClientID)
	if err != nil {
		return nil, err
	}
	scopes, err := o.consentScopes(ctx, r)
	return &DeviceQuestion{
		Application: application, Device: device, Standing: standing, Scopes: scopes, Details: r.Details, Confirmation: o.consentConfirmation(r.ID, session.ID, standing.Tenant),
	}, err
}

// AllowDevice turns the person's yes into a grant, which the device hears of with
// its next poll. It fails as DeviceQuestion does, and with fault.Denied where the
// confirmation is not the one that was shown: then somebody else has signed in
// since, or to another tenant.
func (o *OIDC) AllowDevice(ctx context.Context, r *AuthorizationRequest, session *authn.Session, confirmation secret.Text) error {
	return o.store.InTx(session.As(ctx), func(ctx context.Context) error {
		if _, err := o.store.TakeAuthorizationRequest(ctx, r.ID, r.Browser, o.now()); err != nil {
			return err
		}
		grant, err := o.grant(ctx, r, session)
		if err != nil {
			return err
		}
		if !o.consentConfirmation(r.ID, session.ID, grant.Tenant).Equal(confirmation) {
			return fault.New(fault.Denied, "the answer does not belong to what was asked").WithCode("consent_changed")
		}
		return o.store.AnswerDeviceRequest(ctx, r.Device, DeviceAllowed, grant.Tenant, grant.ID, o.now())
	})
}

// DenyDevice is the person's no, whoever they are. It fails with fault.NotFound
// where the device does not wait any more.
func (o *OIDC) DenyDevice(ctx context.Context, r *AuthorizationRequest) error {
	return o.store.InTx(ctx, func(ctx context.Context) error {
		now := o.now()
		if err := o.store.AnswerDeviceRequest(ctx, r.Device, DeviceDenied, "", "", now); err != nil {
			return err
		}
		return o.store.AppendEvent(ctx, audit.New(ctx, now, "", "device.deny", "application", r.ClientID, nil))
	})
}

// PollDevice answers a device that asks whether there is an answer (RFC 8628 §3.4,
// §3.5), with tokens once. Resources and authorization details that it did not ask
// for at first are refused, and use nothing up. It fails with authorization_pending,
// slow_down, access_denied, expired_token, invalid_grant, invalid_target and
// invalid_authorization_details.
func (o *OIDC) PollDevice(ctx context.Context, a *Application, code secret.Text, terms Terms) (*Tokens, error) {
	return o.redeem(ctx, a, terms, func(ctx context.Context) (id.Tenant, id.Grant, error) {
		var refused error
		var allowed DeviceRequest
		err := o.store.UpdateDeviceRequest(ctx, code.Hash(), a.ClientID, func(d *DeviceRequest) error {
			if refused = o.address(ctx, &issue{application: a, terms: terms}, d.Resources, d.Details); refused != nil && d.Status == DeviceAllowed {
				return nil
			}
			refused = d.poll(o.now())
			allowed = *d
			return nil
		})
		if errors.Is(err, fault.NotFound) {
			return "", "", errGrant()
		}
		return allowed.Tenant, allowed.Grant, errors.Join(err, refused)
	})
}

// poll takes the request a step further, and returns nil to the one poll that gets
// the tokens.
func (d *DeviceRequest) poll(now time.Time) error {
	soon := !d.Polled.IsZero() && now.Before(d.Polled.Add(d.Interval))
	d.Polled = now
	switch {
	case d.Status == DeviceRedeemed:
		return errGrant()
	case !now.Before(d.Expires):
		return refuse(ExpiredToken, "nobody has entered the code in time; ask for another one")
	case d.Status == DeviceDenied:
		return refuse(AccessDenied, "the person has said no")
	case d.Status == DeviceAllowed:
		d.Status = DeviceRedeemed
		return nil
	case soon:
		d.Interval += DeviceInterval
		return refuse(SlowDown, "leave %d seconds between two polls", int(d.Interval/time.Second))
	}
	return refuse(AuthorizationPending, "nobody has answered yet")
}
