package oidc

import (
	"errors"
	"strings"
	"testing"
)

func TestBegin(t *testing.T) {
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		ask  func() (string, error)
		want string
		says []string // parts of the error
	}{
		"an answer":                           {ask: func() (string, error) { return "here", nil }, want: "here"},
		"a failure":                           {ask: func() (string, error) { return "", refused }, says: []string{"refused"}},
		"a panic is who waits', by its place": {ask: func() (string, error) { panic("nobody has foreseen this") }, says: []string{"panic: nobody has foreseen this", "introspect_test.go"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := begin(test.ask)()
			if got != test.want || (err != nil) != (test.says != nil) {
				t.Fatalf("got %q, %v", got, err)
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error %v lacks %q", err, part)
				}
			}
		})
	}
}
