package provisioning

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolecall/rolecall/directory"
)

// changesOf lists what became of resources, attribute by attribute, without
// secrets. What concerns the entry's own resource does not name it.
func (r *redactor) changesOf(happened []*directory.ResourceChange, own string) []Change {
	var all []Change
	for _, h := range happened {
		of := ""
		if h.ID != own {
			of = h.Type + "/" + h.ID
		}
		for _, name := range h.Attributes {
			if name == attrMembers || name == "schemas" {
				continue // the steps say it; the attributes say it
			}
			all = r.compare(all, of, name, h.Before[name], h.After[name], true)
		}
		for _, step := range h.Members {
			all = append(all, Change{
				Resource: of, Attribute: attrMembers, Op: opOf(step.Op), Count: len(step.IDs),
				IDs: slices.Clone(step.IDs[:min(len(step.IDs), maxIDs)]),
			})
		}
	}
	return all
}

const attrMembers = "members"

// compare adds what differs: of a complex attribute, or an extension, each
// sub-attribute by itself.
func (r *redactor) compare(all []Change, of, name string, before, after any, deeper bool) []Change {
	was, wasComplex := before.(map[string]any)
	is, isComplex := after.(map[string]any)
	if deeper && (wasComplex || isComplex) && (wasComplex || before == nil) && (isComplex || after == nil) {
		separator := "."
		if strings.Contains(name, ":") {
			separator = ":"
		}
		names := slices.Collect(maps.Keys(was))
		for sub := range is {
			if _, both := was[sub]; !both {
				names = append(names, sub)
			}
		}
		slices.Sort(names)
		for _, sub := range names {
			all = r.compare(all, of, name+separator+sub, was[sub], is[sub], false)
		}
		return all
	}
	c := Change{Resource: of, Attribute: clean(name, maxName), Before: r.shown(name, before), After: r.shown(name, after)}
	if bytes.Equal(c.Before, c.After) && !r.secretPath(name) {
		return all
	}
	return append(all, c)
}

// shown is the JSON of a value as the log keeps it.
func (r *redactor) shown(name string, value any) []byte {
	if value == nil {
		return nil
	}
	if r.secretPath(name) {
		value = r.hide(value)
	}
	text := encode(value)
	if len(text) > maxValue {
		text = encode(fmt.Sprintf("(%d bytes: too long to be kept)", len(text)))
	}
	return text
}

func opOf(op directory.MemberOp) string {
	switch op {
	case directory.AddMembers:
		return "add"
	case directory.RemoveMembers:
		return "remove"
	case directory.ReplaceMembers:
		return "replace"
	case directory.ClearMembers:
		return "clear"
	}
	return ""
}
