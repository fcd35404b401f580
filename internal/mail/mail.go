// Package mail puts what people are told into letters, and gets them to their
// mail server. A letter is a row written with the change that it tells of; what
// is in it, such as a link, is sealed.
package mail

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"strings"

	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/language"
)

//go:embed letter.html locales
var sources embed.FS

// Kind says what a letter tells.
type Kind string

// The kinds of letters. Those without a link are notices: they ask for nothing,
// so that nobody learns to follow links in them.
const (
	PasswordReset     Kind = "password_reset"     // Link; Args: minutes it works
	PasswordChanged   Kind = "password_changed"   // Args: the instance's address
	SignInElsewhere   Kind = "sign_in_elsewhere"  // Args: the tenant by whose provider the person signs in
	FactorsChanged    Kind = "factors_changed"    // Args: the instance's address
	PasskeyAdded      Kind = "passkey_added"      // Args: the instance's address, the passkey's name
	PasskeyRemoved    Kind = "passkey_removed"    // the same
	PasskeyCloned     Kind = "passkey_cloned"     // the same
	RecoveryCodeUsed  Kind = "recovery_code_used" // Args: how many are left
	NewBrowser        Kind = "new_browser"        // Args: the instance's address, browser, network address, time
	BrowserTrusted    Kind = "browser_trusted"    // Args: the instance's address, browser, network address, days
	SignInCode        Kind = "sign_in_code"       // Args: the instance's address, the code, minutes it works
	AccountClosed     Kind = "account_closed"     // Args: the instance's address, minutes
	EmailChangeOld    Kind = "email_change_old"   // Link; Args: the instance's address, the address that is wanted, hours it works
	EmailChangeNew    Kind = "email_change_new"   // Link; Args: the instance's address, hours it works
	EmailChanged      Kind = "email_changed"      // Args: the instance's address, the address from now on
	Invitation        Kind = "invitation"         // Link; Args: tenant, who invites, hours it works
	InvitationAccount Kind = "invitation_account" // the same, to somebody who has an account

	EmailChangeImpossible Kind = "email_change_impossible" // Args: the instance's address
	EmailChangedByTenant  Kind = "email_changed_by_tenant" // Args: the instance's address, the address from now on, the tenant
	Registration          Kind = "registration"            // Link; Args: tenant, hours it works
	RegistrationMember    Kind = "registration_member"     // Link; Args: tenant; to somebody whom it has already
	RegistrationApproved  Kind = "registration_approved"   // the same, to somebody who waited for it
	RegistrationRefused   Kind = "registration_refused"    // Args: tenant

	SignInInstructions        Kind = "sign_in_instructions"         // Link; Args: tenant, what to sign in with, password
	SignInInstructionsAccount Kind = "sign_in_instructions_account" // the same, to somebody who has a password
	SignInInstructionsCopy    Kind = "sign_in_instructions_copy"    // Args: tenant, who signs in, where the instructions went
)

// A Letter is to one person.
type Letter struct {
	Kind Kind     `json:"kind"`
	To   string   `json:"to"`
	Name string   `json:"name,omitempty"` // of the person; may be empty
	Link string   `json:"link,omitempty"`
	Args []string `json:"args,omitempty"`
	// Language is the one that the person wants, as BCP 47 has it; empty, or one
	// that nothing is written in: the instance's.
	Language string `json:"language,omitempty"`
	Look     Look   `json:"look,omitzero"`
	// Tenant is the one that the letter is of, whose logo it has; empty: none.
	Tenant id.Tenant `json:"tenant,omitempty"`
}

// Look is the colors of the tenant that a letter is of, as #rrggbb. An empty one
// is the server's own.
type Look struct {
	Accent   string `json:"accent,omitempty"`    // of the button
	OnAccent string `json:"on_accent,omitempty"` // of its text
	Ground   string `json:"ground,omitempty"`    // around the letter
}

// or returns the look with the server's own colors where it has none.
func (l Look) or() Look {
	return Look{cmp.Or(l.Accent, "#4453c7"), cmp.Or(l.OnAccent, "#ffffff"), cmp.Or(l.Ground, "#f4f5f9")}
}

// A Rendered letter is what is sent. Its logo goes with it, so that no server
// learns when it is read.
type Rendered struct {
	Subject, Text, HTML string

	Logo *Logo // nil: none
}

// Renderer writes letters. It is safe for concurrent use.
type Renderer struct {
	page      *template.Template
	languages map[string]language.Texts // by their tags; {1} stands for the first of Letter.Args
	otherwise string                    // the language of those who want none that there is
}

// NewRenderer parses the template and the words. A kind has subject, text and note,
// action where it has a link, and code where one of Letter.Args stands large on a
// line of its own. otherwise is the tag of the language of people of whom nothing
// is known. An error is a mistake in the words.
func NewRenderer(otherwise string) (*Renderer, error) {
	r := &Renderer{otherwise: otherwise}
	var err error
	if r.languages, err = language.Load(sources); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	if r.page, err = template.ParseFS(sources, "letter.html"); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return r, nil
}

// Render writes a letter, below a logo unless that is nil. It fails for a kind that
// has no words.
func (r *Renderer) Render(l Letter, logo *Logo) (Rendered, error) {
	var args []string
	for i, arg := range l.Args {
		args = append(args, fmt.Sprintf("{%d}", i+1), oneLine(arg))
	}
	fill := strings.NewReplacer(args...)
	tag, ok := language.Choose(l.Language)
	if !ok {
		tag = r.otherwise
	}
	words := r.languages[tag]
	say := func(part string) (string, error) {
		text, err := words.Say(string(l.Kind) + "." + part)
		if err != nil {
			return "", fmt.Errorf("mail: %w", err)
		}
		return fill.Replace(text), nil
	}
	view := struct {
		Language, Greeting, Subject, Text, Code, Action, Link, Note string
		Look                                                        Look
		Logo                                                        *logoView
	}{Language: tag, Link: l.Link, Greeting: words["greeting"], Look: l.Look.or(), Logo: logo.view()}
	if view.Logo == nil {
		logo = nil
	}
	if l.Name != "" {
		view.Greeting = strings.ReplaceAll(words["greeting.name"], "{1}", oneLine(l.Name))
	}
	parts := map[string]*string{"subject": &view.Subject, "text": &view.Text, "note": &view.Note}
	if l.Link != "" {
		parts["action"] = &view.Action
	}
	if _, ok := words[string(l.Kind)+".code"]; ok {
		parts["code"] = &view.Code
	}
	for part, into := range parts {
		text, err := say(part)
		if err != nil {
			return Rendered{}, err
		}
		*into = text
	}
	var page bytes.Buffer
	if err := r.page.Execute(&page, view); err != nil {
		return Rendered{}, fmt.Errorf("mail: %w", err)
	}
	lines := []string{view.Greeting, view.Text}
	if view.Code != "" {
		lines = append(lines, view.Code)
	}
	if l.Link != "" {
		lines = append(lines, view.Action+":\n"+l.Link)
	}
	lines = append(lines, view.Note)
	return Rendered{Subject: view.Subject, Text: strings.Join(lines, "\n\n") + "\n", HTML: page.String(), Logo: logo}, nil
}

// oneLine keeps what somebody typed, such as a name, from ending a line of a
// letter and beginning one of its own.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
