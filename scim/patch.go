package scim

import (
	"net/http"

	"github.com/rolecall/rolecall/directory"
	"github.com/rolecall/rolecall/internal/fault"
	"github.com/rolecall/rolecall/scim/filter"
	"github.com/rolecall/rolecall/scim/patch"
	"github.com/rolecall/rolecall/scim/schema"
)

// readPatch reads the operations of a PATCH. The body has to pass the strict
// decoder first.
func (r *request) readPatch() ([]patch.Operation, error) {
	data, err := readBody(r.c)
	if err != nil {
		return nil, err
	}
	if _, err := decodeObject(data); err != nil {
		return nil, err
	}
	return patch.Parse(data)
}

// patchUser is PATCH /Users/{id} (RFC 7644 §3.5.2).
func (h *Handler) patchUser(r *request) error {
	p, _, err := r.projection(h.user)
	if err != nil {
		return err
	}
	operations, err := r.readPatch()
	if err != nil {
		return err
	}
	var warnings []schema.Warning
	m, err := h.changeUser(r, func(current map[string]any) (map[string]any, error) {
		current["id"] = r.c.Param("id") // clients repeat it
		result, err := patch.Apply(h.user, current, operations, r.profile.schema)
		warnings = result.Warnings
		return result.Document, err
	})
	h.warn(r, warnings)
	if err != nil {
		return err
	}
	return h.sendUser(r, http.StatusOK, m, p)
}

// patchGroup is PATCH /Groups/{id} (RFC 7644 §3.5.2). It costs what the
// operations name, whatever the group's size: the members are not loaded.
func (h *Handler) patchGroup(r *request) error {
	p, selection, err := r.projection(h.group)
	if err != nil {
		return err
	}
	operations, err := r.readPatch()
	if err != nil {
		return err
	}
	var warnings []schema.Warning
	g, err := h.changeGroup(r, func(current map[string]any) (map[string]any, []directory.MemberChange, error) {
		current["id"] = r.c.Param("id")
		result, err := patch.Apply(h.group, current, operations, r.profile.schema)
		if err != nil {
			return nil, nil, err
		}
		warnings = result.Warnings
		changes, err := memberChanges(result.Members)
		return result.Document, changes, err
	})
	h.warn(r, warnings)
	if err != nil {
		return err
	}
	if selection.empty() {
		r.c.Header("ETag", etag(g.Version))
		return noContent(r.c)
	}
	return h.sendGroup(r, http.StatusOK, g, p)
}

// memberChanges are the steps in the directory's terms.
func memberChanges(steps []patch.MemberChange) ([]directory.MemberChange, error) {
	changes := make([]directory.MemberChange, 0, len(steps))
	for _, step := range steps {
		change := directory.MemberChange{IDs: make([]string, len(step.Members))}
		for i, m := range step.Members {
			change.IDs[i] = m.Value
		}
		switch step.Op {
		case patch.AddMembers:
			change.Op = directory.AddMembers
		case patch.RemoveMembers:
			change.Op = directory.RemoveMembers
		case patch.ReplaceMembers:
			change.Op = directory.ReplaceMembers
		case patch.RemoveAllMembers:
			change.Op = directory.ClearMembers
		case patch.RemoveMatching:
			return nil, fault.Field(fault.Invalid, attrMembers,
				`expected a filter such as members[value eq "…"], or several of these joined by "or"`).WithCode(string(filter.InvalidFilter))
		}
		changes = append(changes, change)
	}
	return changes, nil
}
