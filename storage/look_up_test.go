package storage

import (
	"strings"
	"testing"
)

// echoed is a question whose answer is its own text.
type echoed struct {
	by, text, got string
}

func (q *echoed) statement() string { return q.by }

func (q *echoed) asked(n int) []any {
	return []any{map[string]any{"n": n, "text": q.text}}
}

func (q *echoed) read(row scanner) error { return row.Scan(&q.got, nil) }

// LookUps is TestLookUpsOfARound, which has a database. Statements of several
// kinds go one way; one that fails fails for those who asked by it alone.
func LookUps(t *testing.T, s *Store) {
	t.Helper()
	const from = ` FROM json_to_recordset(CAST($1 AS json)) AS asked(n integer, text text)`
	for _, test := range []struct {
		name string
		by   map[byte]string // kinds, by the first letter of a question
		want map[byte]string // what their errors say
	}{
		{"all are answered", map[byte]string{'a': "SELECT text, n" + from, 'b': "SELECT upper(text), n" + from}, nil},
		{
			"one fails",
			map[byte]string{'a': "SELECT text, n" + from, 'b': "SELECT text || 1/(n - n), n" + from, 'c': "SELECT lower(text), n" + from},
			map[byte]string{'b': "division by zero"},
		},
		{"nobody's row", map[byte]string{'a': "SELECT text, n" + from, 'b': "SELECT text, 7" + from}, map[byte]string{'b': "a row for question 7 of 2"}},
		{"not by an integer", map[byte]string{'a': "SELECT text, n" + from, 'b': "SELECT text, CAST(n AS bigint)" + from}, map[byte]string{'b': "in 8 bytes, want an integer"}},
		{
			"no tenant",
			map[byte]string{'a': "SELECT text, n" + from, 'b': "SELECT text, n" + from + " CROSS JOIN memberships"},
			map[byte]string{'b': "without tenant_id"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var questions []question
			for _, text := range []string{"a1", "b1", "c1", "a2", "b2", "c2"} {
				if by := test.by[text[0]]; by != "" {
					questions = append(questions, &echoed{by: by, text: text})
				}
			}
			for i, err := range s.answer(t.Context(), questions) {
				q, _ := questions[i].(*echoed)
				want := test.want[q.text[0]]
				switch {
				case want == "" && (err != nil || !strings.EqualFold(q.got, q.text)):
					t.Errorf("%s: got %q, %v", q.text, q.got, err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("%s: got the error %v, want %q in it", q.text, err, want)
				}
			}
		})
	}
}
