package authn

import (
	"context"
	_ "embed" // the list of common passwords
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/internal/id"
	"github.com/rolecall/rolecall/internal/secret"
)

// commonPasswords are those of at least eight characters among the 20,000 that
// leaks show most often, in lower case, one a line, with a line break before the
// first and after the last: the list of Django 5.2 (BSD 3-Clause, Django Software
// Foundation), which Royce Williams made from Have I Been Pwned.
//
//go:embed common_passwords.txt
var commonPasswords string

// What a password of context words needs beside them, and the shortest word that
// counts as one, in characters: a shorter one is in many a password by chance.
const (
	minBeside = 5
	minWord   = 3
)

// product is the name of the service, which is a context word (NIST SP 800-63B-4
// §3.1.1.2).
const product = "rolecall"

// checkGuessable refuses what is tried first: passwords that many have, and
// those made of names that belong to the person or to where they sign in (NIST SP
// 800-63B-4 §3.1.1.2). It fails with fault.Invalid, the field password and the
// Code common or context. It never says which name: it may be that of a tenant
// that the caller knows nothing of.
func (a *Authn) checkGuessable(password string, person *directory.User, words ...string) error {
	const field = "password"
	folded := directory.Fold(password)
	if strings.Contains(commonPasswords, "\n"+folded+"\n") {
		return fault.Field(fault.Invalid, field, "the password is one of those most often used; choose one that others don't have").WithCode("common")
	}
	local, domain, _ := strings.Cut(person.Email, "@")
	words = append(words, product, local, domain, person.Name.Given, person.Name.Family, person.Name.Display)
	if u, err := url.Parse(a.publicURL); err == nil {
		words = append(words, u.Hostname())
	}
	if madeOf(folded, words) {
		return fault.Field(fault.Invalid, field,
			"the password is little more than your name, your address or that of your organization; add something that can't be guessed").WithCode("context")
	}
	return nil
}

// madeOf reports whether a folded password has fewer than minBeside letters and
// digits beside the words.
func madeOf(folded string, words []string) bool {
	var parts []string
	for _, word := range words {
		for _, part := range append(strings.FieldsFunc(word, isSeparator), word) {
			if part = plain(directory.Fold(part)); utf8.RuneCountInString(part) >= minWord {
				parts = append(parts, part)
			}
		}
	}
	// Of words that hold one another the longest first.
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
	rest, found := plain(folded), false
	for _, part := range parts {
		if strings.Contains(rest, part) {
			rest, found = strings.ReplaceAll(rest, part, ""), true
		}
	}
	return found && utf8.RuneCountInString(rest) < minBeside
}

func isSeparator(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }

// plain leaves letters and digits.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if isSeparator(c) {
			return -1
		}
		return c
	}, s)
}

// checkHistory refuses a password that is one of the last kept before the one in
// force. Which it was is not said.
func (a *Authn) checkHistory(ctx context.Context, user id.User, password secret.Text, keep int) error {
	if keep == 0 {
		return nil
	}
	old, err := a.store.OldPasswords(ctx, user, keep)
	if err != nil {
		return err
	}
	for _, hash := range old {
		used, err := a.hasher.verify(ctx, password, hash)
		if err != nil {
			return err
		}
		if used {
			return errUsedBefore()
		}
	}
	return nil
}

func errUsedBefore() error {
	return fault.Field(fault.Invalid, "password", "the password was used before; choose another one").WithCode("used_before")
}
