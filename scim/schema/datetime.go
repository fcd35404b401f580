package schema

import (
	"errors"
	"regexp"
	"time"
)

var (
	dateTimeText = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?$`)

	errDateTime = errors.New("expected a date and time such as 2026-01-23T04:56:22Z")
)

// searchTime is as wide for every instant, so that its texts sort as time does.
const searchTime = "2006-01-02T15:04:05.000000000Z"

// ParseDateTime reads an xsd:dateTime with date and time (RFC 7643 §2.3.5), in
// UTC when it names no offset. Fractions beyond nanoseconds are cut off.
// Years before 1 and after 9999 (in UTC) are refused.
func ParseDateTime(s string) (time.Time, error) {
	m := dateTimeText.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, errDateTime
	}
	if m[2] == "" {
		s += "Z"
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, errDateTime
	}
	t = t.UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}, errDateTime
	}
	return t, nil
}

// FormatDateTime is the text of an instant in search documents and bound
// conditions: UTC, 30 characters, with nanoseconds. Texts sort chronologically.
func FormatDateTime(t time.Time) string { return t.UTC().Format(searchTime) }
