package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/outbox"
	"github.com/rolecall/rolecall/internal/secret"
)

// keptFor is for how long a letter can be read in the outbox.
const keptFor = 7 * 24 * time.Hour

// errNoServer is why a letter stays.
var errNoServer = errors.New("mail: no mail server is configured")

// A Posted letter is one in the outbox: it waits, or has no mail server to go to.
type Posted struct {
	ID      id.Mail
	Sealed  []byte // for the place "mails/letter/" + ID
	Created time.Time
	Expires time.Time // when the outbox forgets it
}

// Store keeps letters until they are sent. All methods join the transaction in
// ctx, if there is one.
type Store interface {
	CreateMail(ctx context.Context, m Posted) error
	// Mail fails with fault.NotFound where the letter was sent or is too old.
	Mail(ctx context.Context, mail id.Mail) (*Posted, error)
	// Mails returns the latest ones that have not been sent.
	Mails(ctx context.Context, limit int) ([]Posted, error)
	// DeleteMail forgets a letter that was sent.
	DeleteMail(ctx context.Context, mail id.Mail) error
	// DeleteMails forgets the letters that expired before the given time.
	DeleteMails(ctx context.Context, before time.Time) error
	AppendDelivery(ctx context.Context, d outbox.Delivery) error
	// Logo returns the tenant's, nil where it has none.
	Logo(ctx context.Context, tenant id.Tenant) (*Logo, error)
}

// Sender hands a letter to a mail server.
type Sender interface {
	Send(ctx context.Context, to string, letter Rendered) error
}

// Office takes letters and has them delivered. It is safe for concurrent use.
type Office struct {
	store    Store
	keyring  *secret.Keyring
	renderer *Renderer
	sender   Sender // nil: letters stay in the outbox
	now      func() time.Time
}

// NewOffice returns an Office. Without a sender letters stay in the outbox, where
// the operator reads them. otherwise is the tag of the language of letters to
// people of whom none is known.
func NewOffice(store Store, keyring *secret.Keyring, sender Sender, otherwise string, now func() time.Time) (*Office, error) {
	renderer, err := NewRenderer(otherwise)
	if err != nil {
		return nil, err
	}
	return &Office{store: store, keyring: keyring, renderer: renderer, sender: sender, now: now}, nil
}

// Sends reports whether there is a mail server.
func (o *Office) Sends() bool { return o.sender != nil }

func place(m id.Mail) string { return "mails/letter/" + string(m) }

// Post takes a letter, in the transaction in ctx: it is sent if, and only if,
// that commits.
func (o *Office) Post(ctx context.Context, l Letter) error {
	plain, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	now := o.now()
	posted := Posted{ID: id.New[id.Mail](), Created: now, Expires: now.Add(keptFor)}
	if posted.Sealed, err = o.keyring.Seal(plain, place(posted.ID)); err != nil {
		return err
	}
	if err := o.store.CreateMail(ctx, posted); err != nil || o.sender == nil {
		return err
	}
	payload, err := json.Marshal(reference{posted.ID})
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return o.store.AppendDelivery(ctx, outbox.Delivery{ID: id.New[id.Delivery](), Kind: outbox.Mail, Payload: payload, Due: now, Created: now})
}

// reference is the payload of a delivery: the letter itself is sealed elsewhere.
type reference struct {
	Mail id.Mail `json:"mail"`
}

// Deliver sends the letter of a delivery. It is an outbox.Handler.
func (o *Office) Deliver(ctx context.Context, d outbox.Delivery) error {
	var of reference
	if err := json.Unmarshal(d.Payload, &of); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if o.sender == nil {
		return errNoServer // it was configured when the letter was taken
	}
	posted, err := o.store.Mail(ctx, of.Mail)
	if err != nil {
		return err
	}
	letter, err := o.open(*posted)
	if err != nil {
		return err
	}
	var logo *Logo
	if letter.Tenant != "" {
		if logo, err = o.store.Logo(ctx, letter.Tenant); err != nil {
			return err
		}
	}
	rendered, err := o.renderer.Render(letter, logo)
	if err != nil {
		return err
	}
	if err := o.sender.Send(ctx, letter.To, rendered); err != nil {
		return err
	}
	return o.store.DeleteMail(ctx, posted.ID)
}

func (o *Office) open(posted Posted) (letter Letter, err error) {
	plain, err := o.keyring.Open(posted.Sealed, place(posted.ID))
	if err != nil {
		return letter, err
	}
	if err := json.Unmarshal(plain, &letter); err != nil {
		return letter, fmt.Errorf("mail: %w", err)
	}
	return letter, nil
}

// Waiting is a letter in the outbox, as it will be or would be sent, but for its
// logo.
type Waiting struct {
	ID      id.Mail
	To      string
	Link    string
	Created time.Time
	Rendered
}

// Outbox returns the latest letters that have not been sent, the newest first.
// It shows what is sealed: it is for the operator.
func (o *Office) Outbox(ctx context.Context, limit int) ([]Waiting, error) {
	posted, err := o.store.Mails(ctx, limit)
	if err != nil {
		return nil, err
	}
	waiting := make([]Waiting, 0, len(posted))
	for _, p := range posted {
		letter, err := o.open(p)
		if err != nil {
			return nil, err
		}
		rendered, err := o.renderer.Render(letter, nil)
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, Waiting{ID: p.ID, To: letter.To, Link: letter.Link, Created: p.Created, Rendered: rendered})
	}
	return waiting, nil
}

// Clean forgets letters that are too old.
func (o *Office) Clean(ctx context.Context) error { return o.store.DeleteMails(ctx, o.now()) }
