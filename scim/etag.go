package scim

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rolecall/rolecall/internal/fault"
)

// entityTag is one element of If-Match and If-None-Match (RFC 9110 §8.8.3).
var entityTag = regexp.MustCompile(`^\s*(?:W/)?"([\x21\x23-\x7E\x80-\xFF]*)"\s*(?:,|$)`)

// etag is the version of a resource as the header ETag and meta.version have
// it. It is weak: the JSON of a version is not the same byte by byte for ever.
func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// condition is a header If-Match or If-None-Match.
type condition struct {
	any      bool // "*"
	versions []int64
}

func (c condition) holds(version int64) bool {
	return c.any || slices.Contains(c.versions, version)
}

// parseCondition reads the header; ok is false where there is none. A tag that
// this server did not make is of no version. Tags compare weakly, also in
// If-Match: RFC 7644 §3.14 uses weak tags for it.
func parseCondition(name, header string) (c condition, ok bool, err error) {
	rest := strings.TrimSpace(header)
	if rest == "" {
		return condition{}, false, nil
	}
	if rest == "*" {
		return condition{any: true}, true, nil
	}
	for rest != "" {
		match := entityTag.FindStringSubmatch(rest)
		if match == nil {
			return condition{}, false, fault.Field(fault.Invalid, name, `expected entity tags such as W/"1", separated by commas, or *`)
		}
		rest = strings.TrimLeft(rest[len(match[0]):], " \t,")
		if version, err := strconv.ParseInt(match[1], 10, 64); err == nil && version > 0 && etag(version) == `W/"`+match[1]+`"` {
			c.versions = append(c.versions, version)
		}
	}
	return c, true, nil
}

// notModified reports whether the client has this version already
// (If-None-Match, RFC 9110 §13.1.2). What isn't understood is ignored, as the
// client gets the whole representation then.
func notModified(ifNoneMatch string, version int64) bool {
	c, ok, err := parseCondition("If-None-Match", ifNoneMatch)
	return err == nil && ok && c.holds(version)
}

// precondition returns the version that a change must be based on, 0 for any.
// current reads the version of the resource; it is called only where the
// headers can't be answered without. It fails with fault.Stale.
func precondition(ifMatch, ifNoneMatch string, current func() (int64, error)) (int64, error) {
	match, hasMatch, err := parseCondition("If-Match", ifMatch)
	if err != nil {
		return 0, err
	}
	none, hasNone, err := parseCondition("If-None-Match", ifNoneMatch)
	if err != nil {
		return 0, err
	}
	switch {
	case !hasNone && (!hasMatch || match.any):
		return 0, nil
	case !hasNone && len(match.versions) == 1:
		return match.versions[0], nil
	}
	version, err := current()
	if err != nil {
		return 0, err
	}
	if hasMatch && !match.holds(version) || hasNone && none.holds(version) {
		return 0, fault.New(fault.Stale, "the resource has the version %s", etag(version))
	}
	return version, nil
}
