// Package mail puts what people are told into letters, and gets them to their
// mail server. A letter is a row written with the change that it tells of; what
// is in it, such as a link, is sealed.
package mail

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"strings"
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
	FactorsChanged    Kind = "factors_changed"    // Args: the instance's address
	PasskeyAdded      Kind = "passkey_added"      // Args: the instance's address, the passkey's name
	PasskeyRemoved    Kind = "passkey_removed"    // the same
	PasskeyCloned     Kind = "passkey_cloned"     // the same
	RecoveryCodeUsed  Kind = "recovery_code_used" // Args: how many are left
	AccountClosed     Kind = "account_closed"     // Args: the instance's address, minutes
	Invitation        Kind = "invitation"         // Link; Args: tenant, who invites, hours it works
	InvitationAccount Kind = "invitation_account" // the same, to somebody who has an account

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
}

// A Rendered letter is what is sent.
type Rendered struct{ Subject, Text, HTML string }

// texts are the words of one language. {1} stands for the first of Letter.Args.
type texts map[string]string

// english is the only language so far.
const english = "en"

// Renderer writes letters. It is safe for concurrent use.
type Renderer struct {
	page  *template.Template
	texts texts
}

// NewRenderer parses the template and the words. An error is a mistake in them.
func NewRenderer() (*Renderer, error) {
	r := &Renderer{}
	content, err := sources.ReadFile("locales/" + english + ".json")
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	if err := json.Unmarshal(content, &r.texts); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	if r.page, err = template.ParseFS(sources, "letter.html"); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return r, nil
}

// Render writes a letter. It fails for a kind that has no words.
func (r *Renderer) Render(l Letter) (Rendered, error) {
	var args []string
	for i, arg := range l.Args {
		args = append(args, fmt.Sprintf("{%d}", i+1), oneLine(arg))
	}
	fill := strings.NewReplacer(args...)
	say := func(part string) (string, error) {
		text, ok := r.texts[string(l.Kind)+"."+part]
		if !ok {
			return "", fmt.Errorf("mail: no words for %s.%s", l.Kind, part)
		}
		return fill.Replace(text), nil
	}
	view := struct{ Language, Greeting, Subject, Text, Action, Link, Note string }{Language: english, Link: l.Link, Greeting: r.texts["greeting"]}
	if l.Name != "" {
		view.Greeting = strings.ReplaceAll(r.texts["greeting.name"], "{1}", oneLine(l.Name))
	}
	parts := map[string]*string{"subject": &view.Subject, "text": &view.Text, "note": &view.Note}
	if l.Link != "" {
		parts["action"] = &view.Action
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
	if l.Link != "" {
		lines = append(lines, view.Action+":\n"+l.Link)
	}
	lines = append(lines, view.Note)
	return Rendered{Subject: view.Subject, Text: strings.Join(lines, "\n\n") + "\n", HTML: page.String()}, nil
}

// oneLine keeps what somebody typed, such as a name, from ending a line of a
// letter and beginning one of its own.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
